package probeplan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/messages/containermsg"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// spec is a probe with a delay, a period and the two thresholds.
func spec(delay, period, success, failure int32) *v1.Probe {
	return &v1.Probe{InitialDelaySeconds: delay, PeriodSeconds: period, SuccessThreshold: success, FailureThreshold: failure}
}

// rig runs probes whose results are scripted, in virtual time.
type rig struct {
	t   *testing.T
	s   State
	now time.Time
	at  time.Time // timer
	// running are the probes under way; log tells what was run and reported, with seconds.
	running map[containermsg.ProbeKind]bool
	log     []string
}

func newRig(t *testing.T, c *v1.Container) *rig {
	r := &rig{t: t, s: New(c, start, false, false, 0), now: start, running: map[containermsg.ProbeKind]bool{}}
	r.on(Tick{})
	return r
}

var kinds = [...]string{containermsg.Liveness: "live", containermsg.Readiness: "ready", containermsg.Startup: "start"}

func (r *rig) on(ev Event) {
	r.t.Helper()
	if _, tick := ev.(Tick); tick {
		r.at = time.Time{} // it rang
	}
	var acts []Action
	r.s, acts = Next(r.s, r.now, ev)
	for _, a := range acts {
		sec := r.now.Sub(start).Seconds()
		switch x := a.(type) {
		case Run:
			if r.running[x.Kind] {
				r.t.Fatalf("the %s probe runs twice at once", kinds[x.Kind])
			}
			r.running[x.Kind] = true
			r.log = append(r.log, fmt.Sprintf("%s@%g", kinds[x.Kind], sec))
		case Report:
			r.log = append(r.log, fmt.Sprintf("%s=%v", kinds[x.Kind], x.OK))
		case SetTimer:
			r.at = x.At
		}
	}
}

func (r *rig) end(kind containermsg.ProbeKind, res Result) {
	r.t.Helper()
	delete(r.running, kind)
	r.on(Outcome{Kind: kind, Result: res})
}

// pass lets seconds go by; every probe that runs ends at once with what answer says.
func (r *rig) pass(seconds int, answer func(containermsg.ProbeKind) Result) {
	r.t.Helper()
	until := r.now.Add(time.Duration(seconds) * time.Second)
	for {
		for k := range kinds {
			if kind := containermsg.ProbeKind(k); r.running[kind] {
				r.end(kind, answer(kind))
			}
		}
		if len(r.running) > 0 {
			continue
		}
		if r.at.IsZero() || r.at.After(until) {
			break
		}
		r.now = r.at
		r.on(Tick{})
	}
	r.now = until
}

func always(res Result) func(containermsg.ProbeKind) Result {
	return func(containermsg.ProbeKind) Result { return res }
}

func (r *rig) want(log string) {
	r.t.Helper()
	if got := strings.Join(r.log, " "); got != log {
		r.t.Fatalf("%s\nwant\n%s", got, log)
	}
	r.log = nil
}

// TestRhythm: the first run after the initial delay, then every period, whatever the results.
func TestRhythm(t *testing.T) {
	r := newRig(t, &v1.Container{ReadinessProbe: spec(2, 3, 1, 1)})
	r.want("")
	r.pass(9, always(Success))
	r.want("ready@2 ready=true ready@5 ready@8")
	r.pass(3, always(Failure))
	r.want("ready@11 ready=false")
}

// TestThresholds: a result counts when it came often enough in a row.
func TestThresholds(t *testing.T) {
	r := newRig(t, &v1.Container{ReadinessProbe: spec(0, 1, 2, 3)})
	r.pass(0, always(Success))
	r.want("ready@0")
	r.pass(1, always(Success))
	r.want("ready@1 ready=true")
	r.pass(2, always(Failure))
	r.pass(1, always(Success)) // the row is broken
	r.pass(2, always(Failure))
	r.want("ready@2 ready@3 ready@4 ready@5 ready@6")
	r.pass(1, always(Failure))
	r.want("ready@7 ready=false")
	r.pass(5, always(Unknown)) // counts for nothing, and breaks no row
	r.pass(1, always(Success))
	r.pass(1, always(Unknown))
	r.pass(1, always(Success))
	r.want("ready@8 ready@9 ready@10 ready@11 ready@12 ready@13 ready@14 ready@15 ready=true")
	r.pass(1, always(Warning)) // a success that is worth an event
	r.want("ready@16")
}

// TestStartup: the others wait for it; then readiness is asked at once, and startup never again.
func TestStartup(t *testing.T) {
	r := newRig(t, &v1.Container{StartupProbe: spec(0, 2, 1, 3), ReadinessProbe: spec(3, 5, 1, 1), LivenessProbe: spec(0, 5, 1, 1)})
	r.pass(3, always(Failure))
	r.want("start@0 start@2")
	r.pass(1, always(Success))
	r.want("start@4 start=true ready@4 ready=true")
	r.pass(7, always(Success))
	r.want("live@5 ready@9 live@10")
	delayed := newRig(t, &v1.Container{StartupProbe: spec(0, 1, 1, 1), ReadinessProbe: spec(6, 5, 1, 1)})
	delayed.pass(7, always(Success))
	delayed.want("start@0 start=true ready@6 ready=true") // the initial delay counts from the start
	failed := newRig(t, &v1.Container{StartupProbe: spec(0, 2, 1, 3), LivenessProbe: spec(0, 1, 1, 1)})
	failed.pass(20, always(Failure))
	failed.want("start@0 start@2 start@4 start=false") // the container is on its way down
}

// TestLiveness: the first failure that counts is the last word.
func TestLiveness(t *testing.T) {
	r := newRig(t, &v1.Container{LivenessProbe: spec(1, 1, 1, 2)})
	r.pass(2, always(Success))
	r.pass(10, always(Failure))
	r.want("live@1 live@2 live@3 live@4 live=false")
}

// TestSlow: a probe that takes longer than its period is not run beside itself, and missed turns are not made up for.
func TestSlow(t *testing.T) {
	r := newRig(t, &v1.Container{ReadinessProbe: spec(0, 1, 1, 1)})
	r.now = start.Add(3500 * time.Millisecond)
	r.on(Tick{})
	r.want("ready@0")
	r.end(containermsg.Readiness, Success)
	r.want("ready=true ready@3.5")
	r.pass(2, always(Success))
	r.want("ready@4 ready@5")
}

// TestStop: everything rests, or everything but readiness.
func TestStop(t *testing.T) {
	c := &v1.Container{ReadinessProbe: spec(0, 1, 1, 1), LivenessProbe: spec(0, 1, 1, 1)}
	r := newRig(t, c)
	r.pass(0, always(Success))
	r.log = nil
	r.on(Stop{KeepReadiness: true})
	r.pass(2, always(Failure))
	r.want("ready@1 ready=false ready@2")
	r.on(Stop{})
	r.pass(5, always(Success))
	r.want("")
	if !r.at.IsZero() {
		t.Fatal("a timer is left")
	}
}

// TestAdopted: what is known of an adopted instance counts until a probe says otherwise, and the first runs are spread.
func TestAdopted(t *testing.T) {
	c := &v1.Container{StartupProbe: spec(0, 1, 1, 1), ReadinessProbe: spec(0, 10, 1, 1)}
	r := &rig{t: t, s: New(c, start, true, true, 4*time.Second), now: start, running: map[containermsg.ProbeKind]bool{}}
	r.on(Tick{})
	r.pass(5, always(Success))
	r.want("ready@4") // ready already: nothing to report
	r.pass(10, always(Failure))
	r.want("ready@14 ready=false")
}

// TestDefaults: a period of zero is no spin.
func TestDefaults(t *testing.T) {
	r := newRig(t, &v1.Container{ReadinessProbe: &v1.Probe{}})
	r.pass(2, always(Success))
	r.want("ready@0 ready=true ready@1 ready@2")
}

// TestRows: whatever the results and however long they take, a report comes exactly when a threshold was reached in a row
// and says something new, no probe runs beside itself, and nothing but startup runs before it has succeeded.
func TestRows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		probe := func(name string) *v1.Probe {
			if !rapid.Bool().Draw(rt, name) {
				return nil
			}
			n := rapid.Int32Range(0, 4)
			return spec(n.Draw(rt, "delay"), n.Draw(rt, "period"), n.Draw(rt, "success"), n.Draw(rt, "failure"))
		}
		c := &v1.Container{StartupProbe: probe("startup"), ReadinessProbe: probe("readiness"), LivenessProbe: probe("liveness")}
		s, now := New(c, start, false, false, 0), start
		running := map[containermsg.ProbeKind]bool{}
		rows := map[containermsg.ProbeKind][]bool{}
		last := map[containermsg.ProbeKind]bool{containermsg.Liveness: true}
		started := c.StartupProbe == nil
		specOf := map[containermsg.ProbeKind]*v1.Probe{containermsg.Startup: c.StartupProbe, containermsg.Readiness: c.ReadinessProbe, containermsg.Liveness: c.LivenessProbe}
		over := map[containermsg.ProbeKind]bool{}
		step := func(ev Event, expect *Report) {
			var acts []Action
			s, acts = Next(s, now, ev)
			var got *Report
			for _, a := range acts {
				switch x := a.(type) {
				case Run:
					if running[x.Kind] {
						rt.Fatal("it runs beside itself")
					}
					if over[x.Kind] {
						rt.Fatal("it runs after its last word")
					}
					if x.Kind != containermsg.Startup && !started {
						rt.Fatal("it runs before the container has started")
					}
					running[x.Kind] = true
				case Report:
					got = &x
				}
			}
			if (got == nil) != (expect == nil) || got != nil && (got.Kind != expect.Kind || got.OK != expect.OK) {
				rt.Fatalf("reported %+v, want %+v", got, expect)
			}
		}
		step(Tick{}, nil)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(rt, "ms")) * time.Millisecond)
			kind := containermsg.ProbeKind(rapid.IntRange(0, 2).Draw(rt, "kind"))
			if !running[kind] {
				step(Tick{}, nil)
				continue
			}
			running[kind] = false
			res := Result(rapid.IntRange(0, 3).Draw(rt, "result"))
			var expect *Report
			if res != Unknown && !over[kind] {
				ok := res != Failure
				row := rows[kind]
				if len(row) > 0 && row[0] != ok {
					row = nil
				}
				row = append(row, ok)
				rows[kind] = row
				need := max(1, specOf[kind].FailureThreshold)
				if ok {
					need = max(1, specOf[kind].SuccessThreshold)
				}
				if len(row) >= int(need) {
					final := kind == containermsg.Startup || kind == containermsg.Liveness && !ok
					if final || last[kind] != ok {
						expect = &Report{Kind: kind, OK: ok}
					}
					last[kind] = ok
					over[kind] = final
					if kind == containermsg.Startup && ok {
						started = true
					}
				}
			}
			step(Outcome{Kind: kind, Result: res}, expect)
		}
	})
}
