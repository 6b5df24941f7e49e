package cri

// The labels by which the kubelet, and so Troupe, finds its own objects in the runtime. They are an interface to other
// programs on the node (crictl, log shippers, cAdvisor) and never change.
const (
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelContainerName = "io.kubernetes.container.name"
)
