// Package cgroups decides what the node's cgroups should hold. It is pure: from pods and configuration to names and
// desired values, without touching a file. The appliers that write them are cgroups/cgroupfs and cgroups/systemd;
// cgroups/cgstat reads usage.
//
// The tree, its names and its values are the kubelet's own, so that a node can change over in both directions while
// its pods run:
//
//	<root>/kubepods                      node allocatable
//	<root>/kubepods/burstable            shares = sum of the requests of the burstable pods
//	<root>/kubepods/besteffort           shares = 2
//	<root>/kubepods[/<qos>]/pod<UID>     one per pod; guaranteed pods hang directly under kubepods
//
// Below a pod's cgroup everything belongs to the container runtime.
package cgroups
