// Package plugin is the seam between the volume actor and the kinds of volumes.
package plugin

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Plugin sets up one kind of volume, in two halves that run in effects of different lanes: what waits for others must not
// hold up what works on this node's disk. Both may run for several pods at once and never twice at once for one pod. They
// are repeated when content may have changed, so they must leave alone what is right already. There is no clean-up: the
// pod's whole directory is unmounted and removed by one rule.
type Plugin interface {
	// Name is the qualified name, which is also the folder below pods/<uid>/volumes.
	Name() string
	// Supports tells whether the volume is of this kind.
	Supports(*v1.Volume) bool
	// Remote tells whether Gather may wait for somebody else than this node.
	Remote(*v1.Volume) bool
	// Gather collects what the volume needs and changes nothing on the node. The texts of its errors and of those of
	// Write become the event that the user reads.
	Gather(context.Context, Request) (Write, error)
}

// Write makes the volume ready to be mounted into containers.
type Write func(context.Context) (Result, error)

// Request is one volume of one pod. Everything in it is shared and read only.
type Request struct {
	// Root is the agent's root directory.
	Root   string
	Pod    *v1.Pod
	Volume *v1.Volume
	// FSGroup is the pod's fsGroup, FSUser the one user that all its containers run as; nil for none.
	FSGroup *int64
	FSUser  *int64
}

// Result is a volume that is ready.
type Result struct {
	Mount model.VolumeMount
	// Refresh is when the content expires and Gather must run again; zero for never.
	Refresh time.Time
}
