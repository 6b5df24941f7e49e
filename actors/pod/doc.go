// Package pod is the shell around podplan: one actor for each pod. It feeds events into the plan, performs its actions,
// and after every step lets podstatus compute what the API should show. It decides nothing.
//
// One pod, seven files, from the watch to the runtime:
//
//	actors/source/api/sink.go               what the API server says arrives here
//	actors/pods/actor.go                    the UID's actor is found or made
//	actors/pod/podplan/plan.go              the pod's next step is decided
//	actors/pod/actor.go                     and performed
//	actors/container/containerplan/plan.go  each container's next step is decided
//	actors/container/actor.go               and performed
//	cri/remote/remote.go                    the runtime is called
package pod
