package pods

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/troupe-dev/troupe/actors/container/containerplan"
	"github.com/troupe-dev/troupe/actors/source/podchange"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
	"github.com/troupe-dev/troupe/messages/podsmsg"
	"github.com/troupe-dev/troupe/messages/sourcemsg"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// stage is a /pods actor whose pods only write down what they are told.
type stage struct {
	mu      sync.Mutex
	ref     spawn.Ref
	lines   []string
	gates   map[string]podmsg.Gate
	inc     map[string]model.Incarnation
	mirrors []string
	looked  map[string]bool
	blind   []string // whose gate was open before they were shown what runs
}

type extra struct {
	s    *stage
	name string
}

func (e extra) Receive(_ *spawn.Cell, msg any) {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	switch m := msg.(type) {
	case podmsg.Gate:
		e.s.gates[e.name] = m
		if m.Listed && !e.s.looked[e.name] {
			e.s.blind = append(e.s.blind, e.name)
		}
	case podmsg.Look:
		e.s.looked[e.name] = true
	case podmsg.SourceGone:
		e.s.lines = append(e.s.lines, "gone "+e.name)
	case podmsg.Desired:
		e.s.lines = append(e.s.lines, "newer "+e.name)
	}
}

func newStage(t *testing.T, sources ...string) *stage {
	s := &stage{gates: map[string]podmsg.Gate{}, inc: map[string]model.Incarnation{}, looked: map[string]bool{}}
	system := spawn.NewSystem(spawn.Config{})
	s.ref = system.Root("pods", "pods", func(*spawn.Cell) spawn.Receiver {
		return New(Deps{
			Cgroups: messages.Nowhere, Volumes: messages.Nowhere,
			Mirrors: messages.SinkFunc(func(msg any) {
				s.mu.Lock()
				defer s.mu.Unlock()
				switch m := msg.(type) {
				case sourcemsg.StaticRuns:
					s.mirrors = append(s.mirrors, fmt.Sprintf("runs %s %s %v", m.Pod.UID, m.Pod.Annotations[podchange.ConfigHash], m.Ending))
				case sourcemsg.StaticEnded:
					s.mirrors = append(s.mirrors, "ended "+string(m.Pod.UID))
				case sourcemsg.StaticsKnown:
					s.mirrors = append(s.mirrors, "known")
				}
			}),
			Spawn: func(_ *spawn.Cell, newest func() *v1.Pod, static, orphan bool, inc model.Incarnation) spawn.Receiver {
				s.mu.Lock()
				defer s.mu.Unlock()
				name := string(newest().UID)
				s.lines = append(s.lines, fmt.Sprintf("new %s static=%v orphan=%v", name, static, orphan))
				s.inc[name] = inc
				return extra{s, name}
			},
		}, Config{Sources: sources})
	})
	t.Cleanup(func() {
		_ = system.Stop(t.Context())
		time.Sleep(time.Minute)
	})
	return s
}

func (s *stage) take() (pods, mirrors string) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	pods, mirrors = strings.Join(s.lines, "; "), strings.Join(s.mirrors, "; ")
	s.lines, s.mirrors = nil, nil
	return
}

func (s *stage) expect(t *testing.T, what, pods, mirrors string) {
	t.Helper()
	p, m := s.take()
	if p != pods {
		t.Errorf("%s: pods %q, want %q", what, p, pods)
	}
	if m != mirrors {
		t.Errorf("%s: mirrors %q, want %q", what, m, mirrors)
	}
}

func (s *stage) end(uid string) {
	synctest.Wait()
	s.mu.Lock()
	inc := s.inc[uid]
	s.mu.Unlock()
	s.ref.Tell(podsmsg.Ended{UID: types.UID(uid), Incarnation: inc})
}

func manifest(uid string) podsmsg.Assigned {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web-n", UID: types.UID(uid), Annotations: map[string]string{podchange.ConfigHash: uid}}}
	pod.Spec.Containers = []v1.Container{{Name: "c", Image: "i"}}
	return podsmsg.Assigned{Source: "file", Pod: pod, Modified: time.Unix(1000, 0)}
}

func running(uid, image string, made time.Time) podsmsg.Listed {
	return podsmsg.Listed{Epoch: 1, Pods: map[model.UID]model.PodObserved{types.UID(uid): {
		UID: types.UID(uid), Namespace: "ns", Name: "web-n",
		Sandboxes: []model.Sandbox{{ID: "s", CreatedAt: made, Annotations: map[string]string{podchange.ConfigSource: "file", podchange.ConfigHash: uid + "-hash"}}},
		Containers: []model.Container{{Name: "c", Sandbox: "s", State: model.ContainerRunning,
			Annotations: map[string]string{containerplan.AnnotationHash: containerplan.Hash(&v1.Container{Name: "c", Image: image})}}},
	}}}
}

// Static pods start without the API server, which may be one of them.
func TestStaticPodsDoNotWaitForTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "api", "file")
		s.ref.Tell(manifest("a"))
		s.expect(t, "before the list", "", "")
		s.ref.Tell(podsmsg.Listed{Epoch: 1})
		s.expect(t, "listed", "new a static=true orphan=false", "runs a a false")
		if g := s.gates["a"]; !g.SourcesReady || !g.Listed {
			t.Errorf("gate %+v", g)
		}
		s.ref.Tell(podsmsg.SourceSynced{Source: "file"})
		s.expect(t, "synced", "", "known")
		s.ref.Tell(podsmsg.Assigned{Source: "api", Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "b", Name: "b"}}})
		s.take()
		if s.gates["b"].SourcesReady {
			t.Error("another pod starts before the API source has delivered")
		}
	})
}

func TestStaticPodTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "file")
		s.ref.Tell(manifest("a"))
		s.ref.Tell(podsmsg.SourceSynced{Source: "file"})
		s.ref.Tell(running("k", "i", time.Unix(2000, 0)))
		s.expect(t, "taken over", "new k static=true orphan=false", "runs k k-hash false; known")
		s.ref.Tell(manifest("a"))
		s.expect(t, "told again", "newer k", "runs k k-hash false")
		s.ref.Tell(podsmsg.Removed{Source: "file", UID: "a"})
		s.expect(t, "removed", "gone k", "runs k k-hash true")
		s.ref.Tell(manifest("a"))
		s.end("k")
		s.expect(t, "back under its identity", "new k static=true orphan=false", "runs k k-hash false")
		s.ref.Tell(podsmsg.Removed{Source: "file", UID: "a"})
		s.end("k")
		s.expect(t, "ended", "gone k", "runs k k-hash true; ended k")
		s.ref.Tell(manifest("a"))
		s.expect(t, "a new life has its own", "new a static=true orphan=false", "runs a a false")
	})
}

func TestStaleStaticPodEndsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "api", "file")
		s.ref.Tell(running("k", "other", time.Unix(2000, 0)))
		s.ref.Tell(manifest("a"))
		s.expect(t, "waits", "new k static=false orphan=true; gone k", "runs a a true")
		s.ref.Tell(podsmsg.Removed{Source: "file", UID: "a"})
		s.expect(t, "dropped while it waits", "", "ended a")
		s.ref.Tell(manifest("b"))
		s.expect(t, "another one waits", "", "")
		s.end("k")
		s.expect(t, "its turn", "new b static=true orphan=false", "runs b b false")
	})
}

// Of several changes during one ending only the last has a turn; none at all when the manifest went away.
func TestChangesDuringAnEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "file")
		s.ref.Tell(podsmsg.Listed{Epoch: 1})
		s.ref.Tell(podsmsg.SourceSynced{Source: "file"})
		s.ref.Tell(manifest("v1"))
		s.expect(t, "first", "new v1 static=true orphan=false", "known; runs v1 v1 false")
		change := func(from, to string) {
			s.ref.Tell(podsmsg.Removed{Source: "file", UID: types.UID(from)})
			if to != "" {
				s.ref.Tell(manifest(to))
			}
		}
		change("v1", "v2")
		change("v2", "v3")
		s.expect(t, "twice", "gone v1", "runs v1 v1 true")
		s.end("v1")
		s.expect(t, "ended", "new v3 static=true orphan=false", "runs v3 v3 false")
		change("v3", "v4")
		change("v4", "")
		s.end("v3")
		s.expect(t, "withdrawn", "gone v3", "runs v3 v3 true; ended v3")
	})
}

// A pod is shown what runs before its gate opens: else it would list the runtime by itself, and a node that comes up
// with hundreds of pods would list twice for each.
func TestListComesBeforeTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "api")
		m := manifest("a")
		m.Source = "api"
		s.ref.Tell(m)
		s.ref.Tell(podsmsg.SourceSynced{Source: "api"})
		s.ref.Tell(podsmsg.Listed{At: time.Now()})
		m = manifest("b")
		m.Source = "api"
		s.ref.Tell(m)
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.blind) != 0 || !s.looked["a"] || !s.looked["b"] {
			t.Errorf("looked %v, blind %v", s.looked, s.blind)
		}
	})
}
