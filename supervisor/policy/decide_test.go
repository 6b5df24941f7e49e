package policy

import (
	"reflect"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/messages/model"
)

func in(a v1.ContainerRestartRuleAction, codes ...int32) v1.ContainerRestartRule {
	return v1.ContainerRestartRule{Action: a, ExitCodes: &v1.ContainerRestartRuleOnExitCodes{
		Operator: v1.ContainerRestartRuleOnExitCodesOpIn, Values: codes}}
}

func notIn(a v1.ContainerRestartRuleAction, codes ...int32) v1.ContainerRestartRule {
	r := in(a, codes...)
	r.ExitCodes.Operator = v1.ContainerRestartRuleOnExitCodesOpNotIn
	return r
}

const (
	restart    = v1.ContainerRestartRuleActionRestart
	restartAll = v1.ContainerRestartRuleActionRestartAllContainers
)

// The whole table: pod policy × container policy × kind × code × cause, without rules.
func TestPolicyMatrix(t *testing.T) {
	pods := []v1.RestartPolicy{"", v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever}
	own := []v1.ContainerRestartPolicy{"", v1.ContainerRestartPolicyAlways, v1.ContainerRestartPolicyOnFailure, v1.ContainerRestartPolicyNever}
	kinds := []model.ContainerKind{model.KindInit, model.KindSidecar, model.KindApp, model.KindEphemeral}
	for _, pod := range pods {
		for _, o := range own {
			for _, kind := range kinds {
				if kind == model.KindSidecar && o != v1.ContainerRestartPolicyAlways {
					continue // that is what a sidecar is
				}
				for _, code := range []int32{0, 1, 137} {
					for _, cause := range []Cause{Exited, Killed} {
						effective := string(pod)
						if o != "" {
							effective = string(o)
						}
						failed := code != 0 || cause == Killed
						want := Stay
						switch {
						case kind == model.KindEphemeral:
						case kind == model.KindInit && !failed:
						case effective == "Never":
						case effective == "OnFailure" && !failed:
						default:
							want = Start
						}
						c := &v1.Container{}
						if o != "" {
							c.RestartPolicy = &o
						}
						rules, p := ForContainer(&v1.PodSpec{RestartPolicy: pod}, c, kind, CrashLoop(0), true)
						d := Decide(Exit{Code: code, Cause: cause, At: t0}, rules, p, History{}, t0)
						if d.Action != want {
							t.Errorf("pod %q own %q kind %v code %d cause %v: %v, want %v", pod, o, kind, code, cause, d.Action, want)
						}
					}
				}
			}
		}
	}
}

func TestRules(t *testing.T) {
	never, always, onFailure := v1.ContainerRestartPolicyNever, v1.ContainerRestartPolicyAlways, v1.ContainerRestartPolicyOnFailure
	type spec struct {
		own      *v1.ContainerRestartPolicy
		kind     model.ContainerKind
		rules    []v1.ContainerRestartRule
		allowAll bool
	}
	app := func(own *v1.ContainerRestartPolicy, rules ...v1.ContainerRestartRule) spec {
		return spec{own, model.KindApp, rules, true}
	}
	init := func(own *v1.ContainerRestartPolicy, rules ...v1.ContainerRestartRule) spec {
		return spec{own, model.KindInit, rules, true}
	}
	for _, tc := range []struct {
		name string
		spec spec
		exit Exit
		want Action
	}{
		{"In matches", app(&never, in(restart, 3, 42)), Exit{Code: 42}, Start},
		{"In does not match", app(&never, in(restart, 3, 42)), Exit{Code: 1}, Stay},
		{"NotIn matches", app(&never, notIn(restart, 0)), Exit{Code: 9}, Start},
		{"NotIn does not match", app(&never, notIn(restart, 9)), Exit{Code: 9}, Stay},
		{"NotIn of nothing matches all", app(&never, notIn(restart)), Exit{Code: 0}, Start},
		{"restart on success", app(&never, in(restart, 0)), Exit{Code: 0}, Start},
		{"first match wins", app(&never, in(restart, 1), in(restartAll, 1)), Exit{Code: 1}, Start},
		{"first match wins, the other way", app(&never, in(restartAll, 1), in(restart, 1)), Exit{Code: 1}, RestartAll},
		{"unknown action falls back to the own policy", app(&onFailure, in("Explode", 1), in(restartAll, 1)), Exit{Code: 1}, Start},
		{"unknown operator is skipped", app(&never, v1.ContainerRestartRule{Action: restart, ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: "Near", Values: []int32{1}}}, in(restartAll, 1)), Exit{Code: 1}, RestartAll},
		{"a rule without exit codes is skipped", app(&never, v1.ContainerRestartRule{Action: restart}), Exit{Code: 1}, Stay},
		{"rules need an own policy", app(nil, in(restartAll, 1)), Exit{Code: 1}, Stay},
		{"gate off: restart all leaves it to the policy", spec{&never, model.KindApp, []v1.ContainerRestartRule{in(restartAll, 1)}, false}, Exit{Code: 1}, Stay},
		{"gate off, policy restarts", spec{&always, model.KindApp, []v1.ContainerRestartRule{in(restartAll, 1)}, false}, Exit{Code: 1}, Start},
		{"a kill ignores rules", app(&always, in(restartAll, 137)), Exit{Code: 137, Cause: Killed}, Start},
		{"a kill ignores rules, policy never", app(&never, in(restart, 137)), Exit{Code: 137, Cause: Killed}, Stay},
		{"a kill with code 0 is a failure", app(&onFailure), Exit{Code: 0, Cause: Killed}, Start},
		{"init: rule on failure", init(&never, in(restart, 5)), Exit{Code: 5}, Start},
		{"init: done is done", init(&always, in(restart, 0)), Exit{Code: 0}, Stay},
		{"init: done, yet all restart", init(&never, in(restartAll, 0)), Exit{Code: 0}, RestartAll},
		{"sidecar: all restart", spec{&always, model.KindSidecar, []v1.ContainerRestartRule{in(restartAll, 7)}, true}, Exit{Code: 7}, RestartAll},
		{"ephemeral: never", spec{nil, model.KindEphemeral, []v1.ContainerRestartRule{in(restart, 7)}, true}, Exit{Code: 7}, Stay},
	} {
		c := &v1.Container{RestartPolicy: tc.spec.own, RestartPolicyRules: tc.spec.rules}
		rules, p := ForContainer(&v1.PodSpec{RestartPolicy: v1.RestartPolicyNever}, c, tc.spec.kind, CrashLoop(0), tc.spec.allowAll)
		tc.exit.At = t0
		if got := Decide(tc.exit, rules, p, History{}, t0).Action; got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// A kill is counted from the exit before it: a run longer than the delay is followed at once.
func TestKillsAndBackoff(t *testing.T) {
	p := Policy{Restart: Always, Curve: CrashLoop(0)}
	h, now := History{}, t0
	for i, tc := range []struct{ run, wait time.Duration }{
		{30 * time.Second, 0},                 // no exit before
		{30 * time.Second, 0},                 // no delay yet; it is 10 s from now on
		{30 * time.Second, 0},                 // 30 > 10; 20 s
		{5 * time.Second, 15 * time.Second},   // 20 s after the end before; 40 s
		{100 * time.Second, 0},                // 80 s
		{60 * time.Second, 20 * time.Second},  // 160 s
		{time.Second, 159 * time.Second},      // 300 s
		{10 * time.Second, 290 * time.Second}, // 300 s
	} {
		end := now.Add(tc.run)
		d := Decide(Exit{Code: 137, Cause: Killed, At: end}, nil, p, h, end)
		if d.Action != Start || d.At.Sub(end) != tc.wait {
			t.Errorf("kill %d: %v after %v, want %v", i, d.Action, d.At.Sub(end), tc.wait)
		}
		h = d.History
		// The runs are measured end to end here: the next one begins when this one ended.
		now = end
	}
}

// A decision made late (the agent was away) restarts what is due, and counts from the restart.
func TestLateDecision(t *testing.T) {
	p := Policy{Restart: Always, Curve: CrashLoop(0)}
	h := History{Backoff: Backoff{Delay: 20 * time.Second, Last: t0, Ended: t0}}
	end, now := t0.Add(time.Second), t0.Add(time.Hour)
	d := Decide(Exit{Code: 1, At: end}, nil, p, h, now)
	if !d.At.Equal(end.Add(20*time.Second)) || d.Wait(now) != 0 || !d.History.Backoff.Last.Equal(now) || d.History.Backoff.Delay != 40*time.Second {
		t.Errorf("%+v", d)
	}
}

func TestIntensity(t *testing.T) {
	for _, tc := range []struct {
		name string
		at   []time.Duration // panics, since t0
		want []time.Duration // wait after each
	}{
		{"rare panics restart at once", []time.Duration{0, 40 * time.Second, 80 * time.Second, 120 * time.Second}, []time.Duration{0, 0, 0, 0}},
		{"three in a minute", []time.Duration{0, time.Second, 59 * time.Second}, []time.Duration{0, 0, 10 * time.Second}},
		{"just not in a minute", []time.Duration{0, time.Second, 60 * time.Second}, []time.Duration{0, 0, 0}},
		{"once in quarantine every panic backs off", []time.Duration{0, 0, 0, 10 * time.Second, 300 * time.Second, 800 * time.Second},
			[]time.Duration{0, 0, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second}},
		{"until a run was long", []time.Duration{0, 0, 0, 611 * time.Second, 612 * time.Second, 613 * time.Second},
			[]time.Duration{0, 0, 10 * time.Second, 0, 0, 10 * time.Second}},
	} {
		var h History
		for i, at := range tc.at {
			now := t0.Add(at)
			d := Decide(Exit{Cause: Panicked, At: now}, nil, Actors(), h, now)
			if d.Wait(now) != tc.want[i] || (d.Action == Quarantine) != (tc.want[i] > 0) {
				t.Errorf("%s: panic %d: %v in %v, want %v", tc.name, i, d.Action, d.Wait(now), tc.want[i])
			}
			h = d.History
			if len(h.Recent) > 3 {
				t.Errorf("%s: %d remembered", tc.name, len(h.Recent))
			}
		}
	}
}

// Properties over any sequence of ends: pure; Stay changes nothing; nothing is due before its end; Never without rules
// never restarts; a kill is never matched with rules.
func TestDecideProperties(t *testing.T) {
	rule := rapid.Custom(func(t *rapid.T) Rule {
		return Rule{
			Act:   rapid.SampledFrom([]Act{ActNone, ActRestart, ActRestartAll}).Draw(t, "act"),
			Not:   rapid.Bool().Draw(t, "not"),
			Codes: rapid.SliceOfN(rapid.Int32Range(0, 5), 0, 4).Draw(t, "codes"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(rule, 0, 4).Draw(t, "rules")
		p := Policy{
			Restart: rapid.SampledFrom([]Restart{Always, OnFailure, Never}).Draw(t, "restart"),
			Once:    rapid.Bool().Draw(t, "once"),
			Curve:   curves().Draw(t, "curve"),
		}
		if rapid.Bool().Draw(t, "intense") {
			p.Intensity = Intensity{Count: rapid.IntRange(1, 5).Draw(t, "count"), Window: time.Minute}
		}
		h, now := History{}, t0
		for range rapid.IntRange(1, 30).Draw(t, "ends") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "run")))
			e := Exit{Code: rapid.Int32Range(0, 5).Draw(t, "code"), At: now,
				Cause: rapid.SampledFrom([]Cause{Exited, Killed, Panicked}).Draw(t, "cause")}
			late := now.Add(time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "late")))
			before := History{h.Backoff, append([]time.Time(nil), h.Recent...)}
			d := Decide(e, rules, p, h, late)
			if again := Decide(e, rules, p, h, late); !reflect.DeepEqual(d, again) {
				t.Fatalf("not the same twice: %+v, %+v", d, again)
			}
			if !reflect.DeepEqual(h.Backoff, before.Backoff) || len(h.Recent) != len(before.Recent) {
				t.Fatal("the history was changed in place")
			}
			if d.Action == Stay {
				if !reflect.DeepEqual(d.History, h) || !d.At.IsZero() {
					t.Fatalf("stay: %+v", d)
				}
				continue
			}
			if d.At.Before(e.At) || d.At.Sub(e.At) > p.Curve.Max {
				t.Fatalf("due %v after the end", d.At.Sub(e.At))
			}
			if len(rules) == 0 && p.Restart == Never {
				t.Fatalf("Never: %v", d.Action)
			}
			if e.Cause != Exited && d.Action == RestartAll {
				t.Fatal("a rule matched a kill")
			}
			if p.Intensity.Count == 0 && d.Action == Quarantine {
				t.Fatal("quarantine without an intensity")
			}
			h, now = d.History, later(d.At, late)
		}
	})
}
