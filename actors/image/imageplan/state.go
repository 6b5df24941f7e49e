// Package imageplan decides how containers get their images: whether to look or to pull, which pulls are one, how many
// run at once, and when a failed one is tried again. It is pure: time comes with the event, and credentials are known to
// it only by their fingerprint.
//
// A container's ask (a consumer) goes through these stages and is answered exactly once:
//
//	inspecting → (authorizing) → answered                  the image is there and may be used
//	inspecting → credentials → queued or joined → answered  it has to be pulled
//
// Pulls are joined only when image and credentials are equal: otherwise a pod could get a private image through another's
// secret.
package imageplan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/policy"
)

// Reasons of the API, as container statuses show them.
const (
	ReasonErrImagePull              = "ErrImagePull"
	ReasonImagePullBackOff          = "ImagePullBackOff"
	ReasonErrImageNeverPull         = "ErrImageNeverPull"
	ReasonInvalidImageName          = "InvalidImageName"
	ReasonImageInspectError         = "ImageInspectError"
	ReasonRegistryUnavailable       = "RegistryUnavailable"
	ReasonSignatureValidationFailed = "SignatureValidationFailed"
)

// Reasons of events.
const (
	EventPulling    = "Pulling"
	EventPulled     = "Pulled"
	EventFailed     = "Failed"
	EventBackOff    = "BackOff"
	EventInspect    = "InspectFailed"
	EventNeverPull  = "ErrImageNeverPull"
	EventNoPullKeys = "FailedToRetrieveImagePullSecret"
)

const (
	// presentFor is how long a look that found an image answers others too, who ask for the first time.
	presentFor = 2 * time.Second
	// askAgain is when to ask again after an answer that no back-off governs.
	askAgain = 10 * time.Second
	// showError is how long ErrImagePull stays before the container asks again and learns of the back-off.
	showError = 2 * time.Second
	// overdue is when a pull stops counting against the limits, so that a registry that hangs cannot stop the others.
	overdue = time.Minute
)

// Config is the part of KubeletConfiguration that governs pulls.
type Config struct {
	// Serialize is serializeImagePulls; MaxParallel is maxParallelImagePulls, 0 for no limit.
	Serialize   bool
	MaxParallel int
	// QPS and Burst are registryPullQPS and registryBurst; QPS 0 means no limit.
	QPS   float64
	Burst int
	// Records says that images on the node are only for pods that may pull them (Authorize is asked).
	Records bool
}

func (c Config) width() int {
	if c.Serialize {
		return 1
	}
	return c.MaxParallel
}

// Key names a consumer.
type Key struct {
	UID       model.UID
	Container string
}

// Stage is where a consumer stands.
type Stage int

// The stages.
const (
	Inspecting Stage = iota
	Authorizing
	Credentials
	Pulling
)

// String returns the stage as the inspection shows it.
func (s Stage) String() string {
	return [...]string{"looking for the image", "checking access", "reading pull secrets", "pulling"}[s]
}

// Consumer is one container that waits for its image.
type Consumer struct {
	Key    Key
	Seq    uint64 // of this ask; results of an older one are stale
	Name   Name
	Policy v1.PullPolicy
	Ahead  bool
	Stage  Stage
	Pull   uint64    // when Pulling
	Began  time.Time // when its pull was asked for
}

// Pull is one pull for one or more consumers.
type Pull struct {
	ID          uint64
	Name        Name
	Fingerprint string
	// By is the consumer whose credentials the pull uses.
	By      Key
	Running bool
	Started time.Time
	waiting map[Key]struct{}
}

type backKey struct {
	uid   model.UID
	image string
}

type backState struct {
	policy.Backoff
	until time.Time
	last  string // reason and message of the failure
}

type presence struct {
	ref    string
	size   model.Bytes
	at     time.Time
	served map[Key]struct{}
}

// State is all that the actor knows. Use New.
type State struct {
	Config    Config
	Consumers map[Key]*Consumer
	Pulls     []*Pull // in the order in which they were asked for
	looking   map[string]struct{}
	present   map[string]*presence
	backoff   map[backKey]*backState
	tokens    float64
	tokensAt  time.Time
	seq       uint64
	TimerAt   time.Time
}

// New returns the state of an actor that has done nothing yet.
func New(cfg Config) State {
	return State{
		Config: cfg, Consumers: map[Key]*Consumer{}, looking: map[string]struct{}{},
		present: map[string]*presence{}, backoff: map[backKey]*backState{}, tokens: float64(cfg.Burst),
	}
}

// Running counts the pulls in flight.
func (s *State) Running() int {
	n := 0
	for _, p := range s.Pulls {
		if p.Running {
			n++
		}
	}
	return n
}
