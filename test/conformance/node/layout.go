// Package node brings up one Kubernetes node with its control plane, alone in namespaces that no route leads out of.
package node

import (
	"net/http"
	"path/filepath"
)

// The node as the cluster sees it. Inside the namespaces paths and addresses are the same for every run.
const (
	Name        = "node1"
	address     = "10.77.0.1"
	podRange    = "10.88.0.0/16"
	Home        = "/run/node" // the run's folder
	KubeletRoot = "/var/lib/kubelet"
	socket      = "/run/containerd/containerd.sock"
	mirror      = "127.0.0.1:5001" // the registry of the run's images
	server      = "https://127.0.0.1:6443"
	// Cgroup holds the pods of a run, in every hierarchy. Any other agent of this machine has another one.
	Cgroup = "/troupe-conformance"
)

// AdminConfig is the kubeconfig of the cluster's administrator, inside the namespaces.
const AdminConfig = Home + "/pki/admin.kubeconfig"

// Layout says where a run finds its programs and keeps its files, outside the namespaces.
type Layout struct {
	Cache   string // what was built: bin/, images
	Images  string // docker archives
	Runtime string // container runtime: bin/, cni/
	Agent   string // the program under test; called with a kubelet's arguments
	Work    string // this run's files; removed at its end
	Logs    string // what is kept of them
}

func (l Layout) bin(name string) string { return filepath.Join(l.Cache, "bin", name) }

// Images are what the node's registries have.
type Images struct {
	Sandbox string       // the image of sandboxes
	Hosts   []string     // registries that the handler stands for
	Mirror  http.Handler // answers pulls
}
