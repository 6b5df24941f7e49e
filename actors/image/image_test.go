package image_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/image"
	"github.com/troupe-dev/troupe/actors/image/imageplan"
	"github.com/troupe-dev/troupe/actors/image/keyring"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/imagemsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// store is a runtime's image service without a runtime. pull decides how a pull ends.
type store struct {
	cri.Images
	mu       sync.Mutex
	have     map[string]string
	looks    int
	pulls    []string
	running  int
	most     int
	canceled int
	pull     func(ctx context.Context, image string, auth *runtimeapi.AuthConfig) error
}

func newStore() *store { return &store{have: map[string]string{}} }

func (s *store) ImageStatus(_ context.Context, image string) (*model.ImageInfo, error) {
	time.Sleep(time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	if id, ok := s.have[image]; ok {
		return &model.ImageInfo{ID: id, Size: 42}, nil
	}
	return nil, nil
}

func (s *store) PullImage(ctx context.Context, image string, auth *runtimeapi.AuthConfig, _ *runtimeapi.PodSandboxConfig) (string, error) {
	s.mu.Lock()
	user := ""
	if auth != nil {
		user = auth.Username + "@"
	}
	s.pulls = append(s.pulls, user+image)
	s.running++
	s.most = max(s.most, s.running)
	pull := s.pull
	s.mu.Unlock()
	err := error(nil)
	if pull != nil {
		err = pull(ctx, image, auth)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if ctx.Err() != nil {
		s.canceled++
	}
	if err != nil {
		return "", err
	}
	s.have[image] = "id-" + image
	return "id-" + image, nil
}

// events collects what is recorded, as "fieldPath type reason message".
type events struct {
	record.EventRecorder
	mu   sync.Mutex
	list []string
}

func (e *events) Event(o runtime.Object, kind, reason, message string) {
	ref := o.(*v1.ObjectReference)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, fmt.Sprintf("%s/%s %s %s %s %s", ref.Namespace, ref.Name, ref.FieldPath, kind, reason, message))
}

func (e *events) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.list
	e.list = nil
	return l
}

// inbox collects what containers are told.
type inbox struct {
	mu   sync.Mutex
	list []string
	ch   chan any
}

func (i *inbox) Tell(m any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch m := m.(type) {
	case containermsg.ImageReady:
		i.list = append(i.list, "ready "+m.Ref)
	case containermsg.ImageFailed:
		i.list = append(i.list, m.Reason)
	}
	if i.ch != nil {
		i.ch <- m
	}
}

func (i *inbox) take() []string {
	synctest.Wait()
	i.mu.Lock()
	defer i.mu.Unlock()
	l := i.list
	i.list = nil
	return l
}

type secrets map[string]*v1.Secret

func (s secrets) Secret(_ context.Context, namespace, name string) (*v1.Secret, error) {
	if found := s[namespace+"/"+name]; found != nil {
		return found, nil
	}
	return nil, errors.New("not found")
}

func pod(name string, pullSecrets ...string) *v1.Pod {
	p := &v1.Pod{}
	p.Namespace, p.Name, p.UID = "ns", name, model.UID("uid-"+name)
	for _, s := range pullSecrets {
		p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, v1.LocalObjectReference{Name: s})
	}
	return p
}

func want(p *v1.Pod, img string, policy v1.PullPolicy, in messages.Sink) imagemsg.Want {
	return imagemsg.Want{Pod: p, Container: "web", FieldPath: "spec.containers{web}", Image: img, Policy: policy, Reply: in}
}

func system(t *testing.T, deps image.Deps, cfg image.Config) messages.Sink {
	deps.Logger, deps.Runner = klog.Background(), runner.New(runner.Config{})
	sys := spawn.NewSystem(spawn.Config{Logger: klog.Background()})
	ref := sys.Root("images", "images", image.New(deps, cfg))
	t.Cleanup(func() { sys.Stop(context.Background()) })
	return ref
}

func eq(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s: got\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestBurstLooksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, in := newStore(), &inbox{}
		s.have["x:1"] = "id"
		a := system(t, image.Deps{Images: s}, image.Config{})
		for i := range 500 {
			a.Tell(want(pod(fmt.Sprint(i)), "x:1", v1.PullIfNotPresent, in))
			if i == 250 {
				time.Sleep(100 * time.Millisecond)
			}
		}
		if got := in.take(); len(got) != 500 || got[0] != "ready id" {
			time.Sleep(time.Second)
			got = append(got, in.take()...)
			if len(got) != 500 {
				t.Errorf("%d answers", len(got))
			}
		}
		if s.looks != 1 {
			t.Errorf("%d looks for 500 containers of one image", s.looks)
		}
		time.Sleep(time.Minute)
	})
}

func TestEventsOfAPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, in, ev := newStore(), &inbox{}, &events{}
		s.pull = func(context.Context, string, *runtimeapi.AuthConfig) error { time.Sleep(3 * time.Second); return nil }
		a := system(t, image.Deps{Images: s, Recorder: ev}, image.Config{})
		a.Tell(want(pod("p"), "busybox", "", in)) // no policy: Always, for latest
		time.Sleep(10 * time.Second)
		eq(t, "answer", in.take(), "ready id-busybox:latest")
		eq(t, "events", ev.take(),
			`ns/p spec.containers{web} Normal Pulling Pulling image "busybox"`,
			`ns/p spec.containers{web} Normal Pulled Successfully pulled image "busybox" in 3.001s (3.001s including waiting). Image size: 42 bytes.`)
		time.Sleep(time.Minute)
	})
}

func TestErrorsAndTheirReasons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, in, ev := newStore(), &inbox{}, &events{}
		a := system(t, image.Deps{Images: s, Recorder: ev}, image.Config{})
		for name, c := range map[string]struct {
			err     error
			reason  string
			message string
		}{
			"plain":       {status.Error(codes.Unknown, "failed to pull: no such host"), "ErrImagePull", "failed to pull: no such host"},
			"notfound":    {fmt.Errorf("pull: %w", status.Error(codes.NotFound, "manifest")), "ErrImagePull", "rpc error: code = NotFound desc = manifest"},
			"unavailable": {status.Error(codes.Unknown, "RegistryUnavailable: 503"), "RegistryUnavailable", "image pull failed for r.io/unavailable:1 because the registry is unavailable: 503"},
			"signature":   {status.Error(codes.Unknown, "SignatureValidationFailed: no key"), "SignatureValidationFailed", "image pull failed for r.io/signature:1 because the signature validation failed: no key"},
		} {
			s.mu.Lock()
			s.pull = func(context.Context, string, *runtimeapi.AuthConfig) error { return c.err }
			s.mu.Unlock()
			var got containermsg.ImageFailed
			a.Tell(want(pod(name), "r.io/"+name+":1", v1.PullIfNotPresent, messages.SinkFunc(func(m any) { got, _ = m.(containermsg.ImageFailed) })))
			time.Sleep(time.Second)
			synctest.Wait()
			if got.Reason != c.reason || got.Message != c.message {
				t.Errorf("%s: %s %q", name, got.Reason, got.Message)
			}
			ev.take()
			a.Tell(want(pod(name), "r.io/"+name+":1", v1.PullIfNotPresent, in))
			time.Sleep(time.Second)
			eq(t, name+" asked again", in.take(), "ImagePullBackOff")
			a.Tell(imagemsg.Drop{UID: pod(name).UID})
		}
		time.Sleep(time.Minute)
	})
}

func TestAHangingRegistryHoldsUpOnlyItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, hung, in := newStore(), &inbox{}, &inbox{}
		s.pull = func(ctx context.Context, image string, _ *runtimeapi.AuthConfig) error {
			if strings.HasPrefix(image, "slow.io/") {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		a := system(t, image.Deps{Images: s}, image.Config{})
		for i := range 50 {
			a.Tell(want(pod(fmt.Sprint("slow", i)), fmt.Sprintf("slow.io/x%d:1", i), v1.PullAlways, hung))
		}
		time.Sleep(10 * time.Millisecond)
		for i := range 50 {
			a.Tell(want(pod(fmt.Sprint("fast", i)), fmt.Sprintf("fast.io/x%d:1", i), v1.PullAlways, in))
		}
		time.Sleep(time.Second)
		if got := in.take(); len(got) != 50 {
			t.Errorf("%d of 50 pulls ended while another registry hangs", len(got))
		}
		// A pod that goes away ends its pull, and is not told.
		for i := range 50 {
			a.Tell(imagemsg.Drop{UID: pod(fmt.Sprint("slow", i)).UID})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := hung.take(); len(got) != 0 || s.running != 0 || s.canceled == 0 {
			t.Errorf("after the drop: answers %v, %d running, %d cancelled", got, s.running, s.canceled)
		}
		time.Sleep(time.Minute)
	})
}

func TestSerialPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, in := newStore(), &inbox{}
		s.pull = func(context.Context, string, *runtimeapi.AuthConfig) error { time.Sleep(time.Second); return nil }
		a := system(t, image.Deps{Images: s}, image.Config{Plan: imageplan.Config{Serialize: true}})
		for i := range 5 {
			a.Tell(want(pod(fmt.Sprint(i)), fmt.Sprintf("x:%d", i), v1.PullAlways, in))
		}
		time.Sleep(5100 * time.Millisecond)
		if got := in.take(); len(got) != 5 || s.most != 1 {
			t.Errorf("%d answers, %d at once", len(got), s.most)
		}
		time.Sleep(time.Minute)
	})
}

func secret(name, registry, user string) *v1.Secret {
	s := &v1.Secret{Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{
		v1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{%q:{"username":%q,"password":"pw-%s"}}}`, registry, user, user)}}
	s.Namespace, s.Name = "ns", name
	return s
}

func TestCredentialsInTurnAndJoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, in, ev := newStore(), &inbox{}, &events{}
		s.pull = func(_ context.Context, _ string, auth *runtimeapi.AuthConfig) error {
			time.Sleep(time.Second)
			if auth == nil || auth.Username != "right" || auth.Password != "pw-right" {
				return status.Error(codes.Unknown, "401")
			}
			return nil
		}
		sec := secrets{"ns/wrong": secret("wrong", "r.io/team", "wrong"), "ns/right": secret("right", "r.io", "right")}
		a := system(t, image.Deps{Images: s, Recorder: ev, Secrets: sec}, image.Config{})
		a.Tell(want(pod("a", "right", "wrong", "", "gone"), "r.io/team/x:1", v1.PullAlways, in))
		a.Tell(want(pod("b", "wrong", "right"), "r.io/team/x:1", v1.PullAlways, in))
		a.Tell(want(pod("none"), "r.io/team/x:1", v1.PullAlways, in))
		time.Sleep(5 * time.Second)
		eq(t, "answers", in.take(), "ErrImagePull", "ready id-r.io/team/x:1", "ready id-r.io/team/x:1")
		// a and b have the same credentials and share one pull, the more specific first; the pod without any has its own.
		if got := strings.Join(s.pulls, " "); strings.Count(got, "wrong@") != 1 || strings.Count(got, "right@") != 1 || len(s.pulls) != 3 {
			t.Errorf("pulls %s", got)
		}
		missing := 0
		for _, e := range ev.take() {
			if strings.Contains(e, "FailedToRetrieveImagePullSecret Unable to retrieve some image pull secrets (gone);") {
				missing++
			}
		}
		if missing != 1 {
			t.Errorf("%d events for the missing secret", missing)
		}
		time.Sleep(time.Minute)
	})
}

type records struct {
	mu  sync.Mutex
	log []string
}

func (r *records) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}
func (r *records) Intend(image string) error { r.note("intend %s", image); return nil }
func (r *records) Pulled(image, ref string, by *keyring.Credential) {
	r.note("pulled %s %s by %s", image, ref, by.Source.Name)
}
func (r *records) Failed(image string) { r.note("failed %s", image) }
func (r *records) MayUse(_ context.Context, image, ref string, creds func() ([]keyring.Credential, error)) (bool, error) {
	list, err := creds()
	return len(list) > 0, err
}

func TestRecordsKeepPrivateImagesPrivate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, in, r := newStore(), &inbox{}, &records{}
		s.pull = func(_ context.Context, _ string, auth *runtimeapi.AuthConfig) error {
			if auth == nil {
				return errors.New("401")
			}
			return nil
		}
		a := system(t, image.Deps{Images: s, Records: r, Secrets: secrets{"ns/s": secret("s", "r.io", "u")}}, image.Config{})
		a.Tell(want(pod("owner", "s"), "r.io/x:1", v1.PullIfNotPresent, in))
		time.Sleep(time.Second)
		a.Tell(want(pod("stranger"), "r.io/x:1", v1.PullIfNotPresent, in))
		time.Sleep(time.Second)
		a.Tell(want(pod("friend", "s"), "r.io/x:1", v1.PullIfNotPresent, in))
		time.Sleep(time.Second)
		eq(t, "answers", in.take(), "ready id-r.io/x:1", "ErrImagePull", "ready id-r.io/x:1")
		eq(t, "records", r.log, "intend r.io/x:1", "pulled r.io/x:1 id-r.io/x:1 by s", "intend r.io/x:1", "failed r.io/x:1")
		time.Sleep(time.Minute)
	})
}
