// Package image is the actor that owns the node's images: it looks whether they are there, pulls them, joins pulls that
// are equal and backs off from those that fail. What it does is decided in imageplan; its calls run in the effect runner,
// pulls in a lane of their own for each registry.
package image

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/image/imageplan"
	"github.com/troupe-dev/troupe/actors/image/keyring"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/imagemsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// Runner performs calls that may wait; *runner.Runner is one.
type Runner interface {
	Do(ctx context.Context, job runner.Job)
}

// Secrets reads pull secrets. It may block until its context ends.
type Secrets interface {
	Secret(ctx context.Context, namespace, name string) (*v1.Secret, error)
}

// Plugins asks the node's credential provider plugins for an image's credentials. It may block until its context ends.
type Plugins interface {
	Credentials(ctx context.Context, image string, pod *v1.Pod) ([]keyring.Credential, error)
}

// Records remembers with which credentials images were pulled, so that a pod gets an image that is there only if it could
// have pulled it itself (KEP 2535). Methods may block. ref is what the image resolved to, image what the pod asked for.
type Records interface {
	// Intend is called before a pull; then Pulled or Failed ends it. by is nil for a pull without credentials.
	Intend(image string) error
	Pulled(image, ref string, by *keyring.Credential)
	Failed(image string)
	// MayUse says whether a pod may use an image that is there. creds finds the pod's credentials; it is called only when
	// they matter.
	MayUse(ctx context.Context, image, ref string, creds func() ([]keyring.Credential, error)) (bool, error)
}

// Deps is what the actor needs of the rest of the agent. Images, Runner and Logger are required.
type Deps struct {
	Images   cri.Images
	Runner   Runner
	Logger   klog.Logger
	Recorder record.EventRecorder // nil: no events
	Secrets  Secrets              // nil: pods have no pull secrets
	Plugins  Plugins              // nil: there are none
	Records  Records              // nil: every pod may use every image that is there
}

// Config of the actor.
type Config struct {
	Plan imageplan.Config
	// NodeConfigDirs are searched for config.json and .dockercfg: the first file that is valid counts. NodeConfigDirs()
	// has the kubelet's.
	NodeConfigDirs []string
	// CallTimeout bounds calls other than pulls (runtimeRequestTimeout); 0 means two minutes. A pull is bounded by the
	// runtime's own watch on its progress, and ends when nobody waits for it.
	CallTimeout time.Duration
}

// New returns the producer of the actor. It receives imagemsg.Message.
func New(deps Deps, cfg Config) func(*spawn.Cell) spawn.Receiver {
	cfg.Plan.Records = deps.Records != nil
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = 2 * time.Minute
	}
	return func(*spawn.Cell) spawn.Receiver {
		return &actor{deps: deps, cfg: cfg, state: imageplan.New(cfg.Plan), asks: map[imageplan.Key]*ask{}, cancels: map[uint64]context.CancelFunc{}}
	}
}

type actor struct {
	deps    Deps
	cfg     Config
	state   imageplan.State
	asks    map[imageplan.Key]*ask
	cancels map[uint64]context.CancelFunc
	stop    func() // the timer
	shown   string
}

// ask is what the plan need not know of a consumer.
type ask struct {
	pod   *v1.Pod
	path  string
	reply messages.Sink
	creds []keyring.Credential
}

// credentials brings what a lookup found: the plan gets only the fingerprint.
type credentials struct {
	found imageplan.Found
	creds []keyring.Credential
}

// Receive implements spawn.Receiver.
func (a *actor) Receive(c *spawn.Cell, msg any) {
	switch m := msg.(type) {
	case imagemsg.Message:
		a.message(c, m)
	case credentials:
		if ask := a.asks[m.found.Key]; ask != nil {
			if cons := a.state.Consumers[m.found.Key]; cons != nil && cons.Seq == m.found.Seq {
				ask.creds = m.creds
			}
		}
		a.feed(c, m.found)
	case imageplan.Pulled:
		a.ended(m.ID)
		a.feed(c, m)
	case imageplan.Event:
		a.feed(c, m)
	}
}

func (a *actor) message(c *spawn.Cell, m imagemsg.Message) {
	switch m := m.(type) {
	case imagemsg.Want:
		key := imageplan.Key{UID: m.Pod.UID, Container: m.Container}
		old := a.asks[key]
		a.asks[key] = &ask{pod: m.Pod, path: m.FieldPath, reply: m.Reply}
		if old != nil {
			a.asks[key].creds = old.creds // the pull that is under way or queued may use them
		}
		policy := m.Policy
		if policy == "" {
			policy = imageplan.DefaultPolicy(m.Image)
		}
		want := imageplan.Want{Key: key, Policy: policy, Ahead: m.Ahead}
		name, err := imageplan.Parse(m.Image)
		if err != nil {
			name, want.Err = imageplan.Name{Requested: m.Image}, err.Error()
		}
		want.Name = name
		a.feed(c, want)
	case imagemsg.Drop:
		a.feed(c, imageplan.Drop{UID: m.UID})
	}
}

func (a *actor) feed(c *spawn.Cell, e imageplan.Event) {
	var acts []imageplan.Action
	a.state, acts = imageplan.Next(a.state, e, time.Now())
	for _, act := range acts {
		a.perform(c, act)
	}
	if state := a.describe(); state != a.shown {
		a.shown = state
		c.Entry().SetState(state)
	}
}

func (a *actor) describe() string {
	if len(a.state.Consumers) == 0 {
		return "idle"
	}
	return fmt.Sprintf("%d pulls, %d running", len(a.state.Pulls), a.state.Running())
}

func (a *actor) perform(c *spawn.Cell, act imageplan.Action) {
	switch act := act.(type) {
	case imageplan.Inspect:
		a.inspect(c, act.Image)
	case imageplan.Authorize:
		a.authorize(c, act)
	case imageplan.Lookup:
		a.lookup(c, act)
	case imageplan.StartPull:
		a.pull(c, act)
	case imageplan.CancelPull:
		a.ended(act.ID)
	case imageplan.Ready:
		a.tell(act.Key, containermsg.ImageReady{Image: act.Image, Ref: act.Ref})
	case imageplan.Failed:
		a.tell(act.Key, containermsg.ImageFailed{Image: act.Image, Reason: act.Reason, Message: act.Message, RetryAt: act.RetryAt})
	case imageplan.Emit:
		a.emit(act)
	case imageplan.Forget:
		delete(a.asks, act.Key)
	case imageplan.SetTimer:
		if a.stop != nil {
			a.stop()
			a.stop = nil
		}
		if !act.At.IsZero() {
			a.stop = c.After(time.Until(act.At), imageplan.Tick{})
		}
	}
}

func (a *actor) tell(key imageplan.Key, msg containermsg.Event) {
	if ask := a.asks[key]; ask != nil && ask.reply != nil {
		ask.reply.Tell(msg)
	}
}

// ended releases a pull's context; for one that still runs this cancels it.
func (a *actor) ended(id uint64) {
	if cancel := a.cancels[id]; cancel != nil {
		delete(a.cancels, id)
		cancel()
	}
}

func (a *actor) emit(e imageplan.Emit) {
	ask := a.asks[e.Key]
	if ask == nil || a.deps.Recorder == nil {
		return
	}
	a.deps.Recorder.Event(&v1.ObjectReference{
		APIVersion: "v1", Kind: "Pod", Namespace: ask.pod.Namespace, Name: ask.pod.Name,
		UID: ask.pod.UID, ResourceVersion: ask.pod.ResourceVersion, FieldPath: ask.path,
	}, e.Type, e.Reason, e.Message)
}
