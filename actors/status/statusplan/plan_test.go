package statusplan

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

var t0 = time.Unix(1e9, 0)

func object(version string, phase v1.PodPhase, conditions ...v1.PodCondition) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "ns", UID: "u", ResourceVersion: version},
		Status: v1.PodStatus{Phase: phase, Conditions: conditions}}
}

func show(acts []Action) string {
	text := ""
	for _, a := range acts {
		switch a := a.(type) {
		case Start:
			text += " " + a.Op.String()
		case Replace:
			text += " replace"
		case Ack:
			text += fmt.Sprintf(" ack%d", a.Gen)
		case Wait:
			text += fmt.Sprintf(" wait %s", a.Until.Sub(t0))
		case Fault:
			text += " fault"
		}
	}
	return text
}

// script runs events and compares what each one leads to.
type step struct {
	ev   Event
	want string
}

func run(t *testing.T, s State, steps ...step) State {
	t.Helper()
	for i, st := range steps {
		var acts []Action
		s, acts = Next(s, st.ev)
		if got := show(acts); got != st.want {
			t.Errorf("step %d %T: did%s, want%s", i, st.ev, got, st.want)
		}
	}
	return s
}

func pub(gen uint64, phase v1.PodPhase) Publish {
	return Publish{Pod: object("1", v1.PodPending), Status: &v1.PodStatus{Phase: phase}, Gen: gen}
}

func patched(version string, phase v1.PodPhase) Done {
	return Done{Op: Patching, Pod: object(version, phase), Now: t0}
}

func TestOneWriteInFlightAndTheNewestWins(t *testing.T) {
	run(t, State{},
		step{Seen{object("1", v1.PodPending)}, ""},
		step{pub(1, v1.PodRunning), " patch status"},
		step{pub(2, v1.PodFailed), " replace"},
		step{patched("2", v1.PodRunning), " patch status"}, // too late, and never acknowledges what was to be replaced
		step{patched("3", v1.PodFailed), " ack2"},
		step{Seen{object("2", v1.PodRunning)}, ""}, // an echo that comes late is not a change by others
		step{Seen{object("3", v1.PodFailed)}, ""},
	)
}

func TestAWaitingPatchIsReplaced(t *testing.T) {
	run(t, State{},
		step{Seen{object("1", v1.PodPending)}, ""},
		step{pub(1, v1.PodRunning), " patch status"},
		step{pub(1, v1.PodRunning), ""},
		step{pub(2, v1.PodFailed), " replace"},
		step{patched("2", v1.PodFailed), " ack2"}, // in time: one write for both
	)
	// Nothing replaces a read or the final delete. What comes to nothing is not written (the shell sees it, too).
	run(t, State{},
		step{Seen{object("1", v1.PodPending)}, ""},
		step{pub(1, v1.PodRunning), " patch status"},
		step{pub(2, v1.PodPending), " replace"},
		step{patched("2", v1.PodRunning), " patch status"},
		step{Done{Op: Patching, Outcome: Disputed, Now: t0}, " get"},
		step{pub(3, v1.PodRunning), ""},
		step{Done{Op: Reading, Pod: object("3", v1.PodRunning), Now: t0}, " ack3"},
		step{Delete{}, " delete"},
		step{pub(4, v1.PodFailed), ""},
	)
}

func TestWhatOthersWaitForGoesAhead(t *testing.T) {
	ready := func(status v1.ConditionStatus) v1.PodCondition {
		return v1.PodCondition{Type: v1.PodReady, Status: status}
	}
	leaving := object("1", v1.PodRunning, ready("True"))
	leaving.DeletionTimestamp = &metav1.Time{Time: t0}
	for _, tc := range []struct {
		name  string
		api   *v1.Pod
		want  v1.PodStatus
		ahead bool
	}{
		{"progress", object("1", v1.PodPending, ready("False")), v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{ready("False")}}, false},
		{"ready", object("1", v1.PodPending), v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{ready("True")}}, true},
		{"not ready", object("1", v1.PodRunning, ready("True")), v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{ready("False")}}, true},
		{"not ready and on its way out", leaving, v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{ready("False")}}, false},
		{"ended", object("1", v1.PodRunning), v1.PodStatus{Phase: v1.PodFailed}, true},
		{"ended before", object("1", v1.PodFailed), v1.PodStatus{Phase: v1.PodFailed, Message: "more"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _ := Next(State{}, Seen{tc.api})
			s, acts := Next(s, Publish{Pod: tc.api, Status: &tc.want, Gen: 1})
			if a, ok := acts[0].(Start); !ok || a.Ahead != tc.ahead {
				t.Errorf("%+v", acts)
			}
			// What waits for its turn goes ahead from when it has to.
			s, _ = Next(State{}, Seen{tc.api})
			s, _ = Next(s, Publish{Pod: tc.api, Status: &v1.PodStatus{Phase: tc.api.Status.Phase, Message: "x"}, Gen: 1})
			_, acts = Next(s, Publish{Pod: tc.api, Status: &tc.want, Gen: 2})
			if a, ok := acts[0].(Replace); !ok || a.Ahead != tc.ahead {
				t.Errorf("%+v", acts)
			}
		})
	}
	s, _ := Next(State{}, Seen{object("1", v1.PodFailed)})
	if _, acts := Next(s, Delete{}); !acts[0].(Start).Ahead {
		t.Errorf("the final delete waits: %+v", acts)
	}
}

func TestEqualStatusIsNotWritten(t *testing.T) {
	run(t, State{}, step{Seen{object("1", v1.PodRunning)}, ""}, step{pub(1, v1.PodRunning), " ack1"}, step{pub(2, v1.PodRunning), " ack2"})
}

func TestOverwrittenStatusIsMended(t *testing.T) {
	s := run(t, State{},
		step{Seen{object("1", v1.PodPending)}, ""},
		step{pub(1, v1.PodRunning), " patch status"},
		step{patched("2", v1.PodRunning), " ack1"},
		step{Seen{object("3", v1.PodPending)}, " patch status"},
		step{patched("4", v1.PodRunning), ""},
		step{Seen{object("5", v1.PodPending)}, " patch status"},
		step{patched("6", v1.PodRunning), ""},
	)
	// A quarrel slows down.
	run(t, s,
		step{Seen{object("7", v1.PodPending)}, " patch status"},
		step{patched("8", v1.PodRunning), ""},
		step{Seen{object("9", v1.PodPending)}, " wait 1s"},
		step{Tick{t0.Add(time.Second)}, " patch status"},
	)
}

func TestFailuresBackOff(t *testing.T) {
	failed := func(at time.Duration, after time.Duration) Done {
		return Done{Op: Patching, Outcome: Failed, After: after, Now: t0.Add(at)}
	}
	run(t, State{},
		step{Seen{object("1", v1.PodPending)}, ""},
		step{pub(1, v1.PodRunning), " patch status"},
		step{failed(0, 0), " wait 200ms"},
		step{Tick{t0.Add(100 * time.Millisecond)}, " wait 200ms"},
		step{Tick{t0.Add(200 * time.Millisecond)}, " patch status"},
		step{failed(200*time.Millisecond, 0), " wait 600ms"},
		step{Tick{t0.Add(600 * time.Millisecond)}, " patch status"},
		step{failed(600*time.Millisecond, 5*time.Second), " wait 5.6s"},
		step{pub(2, v1.PodFailed), " wait 5.6s"},
		step{Tick{t0.Add(6 * time.Second)}, " patch status"},
		step{patched("2", v1.PodFailed), " ack2"},
	)
}

func TestDisputeIsClearedByARead(t *testing.T) {
	run(t, State{},
		step{Seen{object("1", v1.PodPending)}, ""},
		step{pub(1, v1.PodRunning), " patch status"},
		step{Done{Op: Patching, Outcome: Disputed, Now: t0}, " get"},
		step{Done{Op: Reading, Pod: object("5", v1.PodPending), Now: t0}, " patch status"},
		step{Done{Op: Patching, Outcome: Disputed, Now: t0}, " get"},
		step{Done{Op: Reading, Outcome: Missing, Now: t0}, " ack1"},
		step{Seen{object("9", v1.PodPending)}, ""},
	)
}

func TestGonePodHoldsNothing(t *testing.T) {
	run(t, State{},
		step{Seen{object("1", v1.PodPending)}, ""},
		step{pub(1, v1.PodRunning), " patch status"},
		step{Gone{}, ""},
		step{Done{Op: Patching, Outcome: Missing, Now: t0}, " ack1"},
		step{pub(2, v1.PodFailed), " ack2"},
		step{Delete{}, ""},
	)
}

func TestFinalDelete(t *testing.T) {
	run(t, State{},
		step{Seen{object("1", v1.PodRunning)}, ""},
		step{pub(1, v1.PodSucceeded), " patch status"},
		step{Delete{}, ""},
		step{patched("2", v1.PodSucceeded), " ack1 delete"},
		step{Done{Op: Removing, Outcome: Failed, Now: t0}, " wait 200ms"},
		step{Tick{t0.Add(time.Second)}, " delete"},
		step{Done{Op: Removing, Outcome: OK, Now: t0}, ""},
		step{Delete{}, ""},
		step{Gone{}, ""},
	)
}

func TestStaticPod(t *testing.T) {
	mirror := object("7", v1.PodPending)
	mirror.UID = "mirror"
	s := run(t, State{Local: true},
		step{pub(1, v1.PodRunning), " ack1"},
		step{Seen{mirror}, " patch status"},
		step{patched("8", v1.PodRunning), ""},
		step{Gone{}, ""},
		step{Seen{mirror}, " patch status"},
		step{Done{Op: Patching, Outcome: Missing, Now: t0}, ""},
		step{Delete{}, ""},
	)
	if s.Gone {
		t.Error("a static pod is gone with its mirror")
	}
}

func TestMerge(t *testing.T) {
	at := func(n int64) metav1.Time { return metav1.Unix(n, 0) }
	api := &v1.PodStatus{
		Phase: v1.PodFailed, Reason: "Evicted", QOSClass: v1.PodQOSBurstable, NominatedNodeName: "n", ObservedGeneration: 5, StartTime: &metav1.Time{Time: t0},
		ResourceClaimStatuses: []v1.PodResourceClaimStatus{{Name: "c"}},
		Conditions: []v1.PodCondition{{Type: "example.com/gate", Status: "True"}, {Type: v1.DisruptionTarget, Reason: "theirs"},
			{Type: v1.PodScheduled, Status: "True", LastTransitionTime: at(1)}, {Type: v1.PodResizePending, Status: "True"}},
	}
	ours := &v1.PodStatus{
		Phase: v1.PodRunning, ObservedGeneration: 3, QOSClass: v1.PodQOSBestEffort,
		Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: "True"}, {Type: v1.PodScheduled, Status: "True", LastTransitionTime: at(9)},
			{Type: "example.com/gate", Status: "False"}},
	}
	got := Merge(api, ours)
	want := []v1.PodCondition{{Type: "example.com/gate", Status: "True"}, {Type: v1.DisruptionTarget, Reason: "theirs"},
		{Type: v1.PodReady, Status: "False", Reason: "PodFailed"}, {Type: v1.PodScheduled, Status: "True", LastTransitionTime: at(1)}}
	if !equality.Semantic.DeepEqual(got.Conditions, want) {
		t.Errorf("conditions %v, want %v", got.Conditions, want)
	}
	if got.Phase != v1.PodFailed || got.Reason != "Evicted" || got.QOSClass != v1.PodQOSBurstable || got.NominatedNodeName != "n" ||
		got.ObservedGeneration != 5 || !got.StartTime.Time.Equal(t0) || len(got.ResourceClaimStatuses) != 1 {
		t.Errorf("what may not change has changed: %+v", got)
	}
	ours.Conditions = append(ours.Conditions, v1.PodCondition{Type: v1.DisruptionTarget, Reason: "ours"})
	if c := find(Merge(api, ours).Conditions, v1.DisruptionTarget); c.Reason != "ours" {
		t.Errorf("DisruptionTarget %v", c)
	}
}

func TestNormalize(t *testing.T) {
	precise := metav1.NewTime(time.Unix(1e9, 123456789).UTC())
	pod := &v1.Pod{Spec: v1.PodSpec{InitContainers: []v1.Container{{Name: "z"}, {Name: "a"}}, Containers: []v1.Container{{Name: "b"}, {Name: "a"}}}}
	in := &v1.PodStatus{StartTime: &precise,
		InitContainerStatuses: []v1.ContainerStatus{{Name: "a"}, {Name: "z"}},
		ContainerStatuses: []v1.ContainerStatus{{Name: "b", State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{FinishedAt: precise, Message: string(make([]byte, 9000))}}},
			{Name: "a"}}}
	out := Normalize(pod, in)
	if out.StartTime.Nanosecond() != 0 || out.ContainerStatuses[1].State.Terminated.FinishedAt.Nanosecond() != 0 {
		t.Error("times keep fractions")
	}
	if out.InitContainerStatuses[0].Name != "z" || out.ContainerStatuses[0].Name != "a" {
		t.Error("not in the API's order")
	}
	if n := len(out.ContainerStatuses[1].State.Terminated.Message); n != 3072 {
		t.Errorf("message of %d bytes", n)
	}
	if in.StartTime.Nanosecond() == 0 || in.ContainerStatuses[0].Name != "b" {
		t.Error("the given status was changed")
	}
}

// An API server that fails at random, others who overwrite, and echoes that come late: in the end the API holds the
// newest status, it was acknowledged, never two calls were under way, and a terminal phase never reverted.
func TestConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		version := 1
		server := object("1", v1.PodPending)
		var s State
		var acts []Action
		var flying *Start
		var wait time.Time
		now, gen, acked := t0, uint64(0), uint64(0)
		var feed func(Event)
		feed = func(ev Event) {
			s, acts = Next(s, ev)
			for _, a := range acts {
				switch a := a.(type) {
				case Start:
					if flying != nil {
						t.Fatal("two calls under way")
					}
					flying = &a
				case Replace:
					if flying == nil || flying.Op != Patching {
						t.Fatal("replaced what is not under way")
					}
					if rapid.Bool().Draw(t, "in time") {
						var err error
						if flying.Body, err = Patch(a.Pod.UID, &a.Pod.Status, a.Status); err != nil {
							t.Fatal(err)
						}
					}
				case Ack:
					if a.Gen <= acked && a.Gen != 0 {
						t.Fatalf("acknowledged %d after %d", a.Gen, acked)
					}
					acked = a.Gen
				case Wait:
					wait = a.Until
				case Fault:
					t.Fatal(a.Err)
				}
			}
		}
		write := func(status *v1.PodStatus) {
			if Terminal(server.Status.Phase) && status.Phase != server.Status.Phase {
				t.Fatal("a terminal phase reverted")
			}
			version++
			next := server.DeepCopy()
			next.Status, next.ResourceVersion = *status, strconv.Itoa(version)
			server = next
		}
		answer := func(outcome Outcome) {
			f := flying
			flying = nil
			d := Done{Op: f.Op, Outcome: outcome, Now: now}
			if f.Op == Patching && f.Body == nil {
				d.Outcome = OK // there is nothing to call for
			} else if outcome == OK {
				if f.Op == Patching {
					write(apply(t, &server.Status, f.Body))
				}
				d.Pod = server
			}
			feed(d)
		}
		feed(Seen{server})
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				gen++
				feed(Publish{Pod: server, Gen: gen, Status: &v1.PodStatus{Phase: rapid.SampledFrom([]v1.PodPhase{v1.PodRunning, v1.PodPending, v1.PodFailed}).Draw(t, "phase"),
					Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: rapid.SampledFrom([]v1.ConditionStatus{"True", "False"}).Draw(t, "ready")}}}})
			case 1:
				if flying != nil {
					answer(rapid.SampledFrom([]Outcome{OK, OK, Failed, Disputed}).Draw(t, "outcome"))
				}
			case 2:
				others := server.Status.DeepCopy()
				others.Conditions = []v1.PodCondition{{Type: "example.com/gate", Status: "True"}}
				write(others)
			case 3:
				feed(Seen{server})
			case 4:
				now = now.Add(time.Minute)
				feed(Tick{now})
			}
		}
		feed(Seen{server})
		for i := 0; flying != nil || !wait.IsZero() && now.Before(wait); i++ {
			if i > 100 {
				t.Fatal("never comes to rest")
			}
			if flying != nil {
				answer(OK)
				continue
			}
			now = now.Add(time.Minute)
			feed(Tick{now})
		}
		if s.Wanted == nil {
			return
		}
		if acked != gen {
			t.Fatalf("acknowledged %d of %d", acked, gen)
		}
		if body, _ := Patch("u", &server.Status, Merge(&server.Status, s.Wanted)); body != nil {
			t.Fatalf("the API does not hold the newest status: %s", body)
		}
		if gates := find(server.Status.Conditions, "example.com/gate"); gates != nil && gates.Status != "True" {
			t.Fatal("a condition of others was lost")
		}
	})
}
