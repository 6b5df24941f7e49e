// Package observe is the port through which actors tell figures to whoever keeps metrics. Actors know no metrics library.
package observe

import "time"

// The kinds of containers, as the kubelet's metrics name them.
const (
	Container          = "container"
	InitContainer      = "init_container"
	EphemeralContainer = "ephemeral_container"
)

// Observer is told of what happened. Methods are safe for concurrent use and never block.
type Observer interface {
	// PodStarted: the containers of a pod were first seen running. seen is when the agent first saw the pod, created its
	// creation in the API, apart the time spent in image pulls and init containers.
	PodStarted(created, seen, running time.Time, apart time.Duration)
	// ContainerStarted: kind is Container, InitContainer or EphemeralContainer; code the API reason of a failure.
	ContainerStarted(kind, code string)
	// ContainerTerminated: a status showed the end of a container for the first time, with this code and API reason.
	ContainerTerminated(kind string, exitCode int32, reason string)
	// StatusAcknowledged: how long the API server took to hold a status, from the change on.
	StatusAcknowledged(took time.Duration)
	// Probed: probe is Liveness, Readiness or Startup; result is successful, failed or unknown.
	Probed(probe, container, pod, namespace, uid, result string, took time.Duration)
	// PodGone: nothing more is told of this pod.
	PodGone(namespace, name, uid string)
}

// Nobody ignores everything.
type Nobody struct{}

var _ Observer = Nobody{}

// PodStarted implements Observer.
func (Nobody) PodStarted(time.Time, time.Time, time.Time, time.Duration) {}

// ContainerStarted implements Observer.
func (Nobody) ContainerStarted(string, string) {}

// ContainerTerminated implements Observer.
func (Nobody) ContainerTerminated(string, int32, string) {}

// StatusAcknowledged implements Observer.
func (Nobody) StatusAcknowledged(time.Duration) {}

// Probed implements Observer.
func (Nobody) Probed(string, string, string, string, string, string, time.Duration) {}

// PodGone implements Observer.
func (Nobody) PodGone(string, string, string) {}
