// Package worldtest drives podplan, containerplan and podstatus together, without actors, through a world of virtual
// time: a runtime whose calls are refused, lost, hang or answer late, a node, cgroups, volumes, images and an API server
// that answer when they like, events that come twice, late or never, lists older than what is known, containers that
// exit, sandboxes that die, deletions with any grace, and an agent, a pod's actor or a container's actor that dies at any
// moment and is rebuilt from what runs.
//
// What holds at every step, whatever happens:
//   - at most one instance of a container runs;
//   - nothing is created or started before admission, without a grant, or after the container was told to stop;
//   - an init container waits for those before it, an app container for all of them;
//   - at most one sandbox is ready, and none is made while one is;
//   - a sandbox is not stopped while a container runs in it, unless the grace is over; sidecars stop after the others;
//   - nothing of a pod's volumes or its cgroup is given back while a container runs;
//   - as the API sees it: restart counts only grow, a terminal phase stays and comes only when nothing runs any more,
//     Running never becomes Pending again, a container with a readiness probe is Ready only after it succeeded, and
//     what is shown as terminated has ended with that exit code;
//   - the ending never turns back; the object is deleted only when nothing of the pod is left on the node and the API
//     holds the last status; after Finish nothing is left;
//   - no number of faults makes it spin: steps are bounded, at one moment and over all.
//
// What comes to pass once the faults stop: a pod that may run is Running and Ready, every other one has ended, and a
// deleted one is gone, each in bounded virtual time.
package worldtest
