package payload

import v1 "k8s.io/api/core/v1"

// FSUser returns the one numeric user that every container of the pod runs as, or nil when they differ or one of them
// does not say. Credential files are owned by that user.
func FSUser(pod *v1.Pod) *int64 {
	var user *int64
	same := true
	look := func(sc *v1.SecurityContext) {
		var own *int64
		if pod.Spec.SecurityContext != nil {
			own = pod.Spec.SecurityContext.RunAsUser
		}
		if sc != nil && sc.RunAsUser != nil {
			own = sc.RunAsUser
		}
		if own == nil || (user != nil && *user != *own) {
			same = false
			return
		}
		user = own
	}
	for i := range pod.Spec.InitContainers {
		look(pod.Spec.InitContainers[i].SecurityContext)
	}
	for i := range pod.Spec.Containers {
		look(pod.Spec.Containers[i].SecurityContext)
	}
	for i := range pod.Spec.EphemeralContainers {
		look(pod.Spec.EphemeralContainers[i].SecurityContext)
	}
	if !same {
		return nil
	}
	return user
}

// FSGroup returns the pod's fsGroup, nil when it has none.
func FSGroup(pod *v1.Pod) *int64 {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroup
}
