package imageplan

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/messages/model"
)

var t0 = time.Unix(1000, 0)

// driver feeds a state and shows actions as text.
type driver struct {
	t  *testing.T
	s  State
	at time.Duration
}

func (d *driver) feed(events ...Event) []string {
	var out []string
	for _, e := range events {
		var acts []Action
		d.s, acts = Next(d.s, e, t0.Add(d.at))
		for _, a := range acts {
			switch a := a.(type) {
			case SetTimer, Forget:
			case Emit:
				out = append(out, fmt.Sprintf("%s: %s %s %s", a.Key.UID, a.Type, a.Reason, a.Message))
			case Ready:
				out = append(out, fmt.Sprintf("%s: ready %s", a.Key.UID, a.Ref))
			case Failed:
				out = append(out, fmt.Sprintf("%s: %s %q in %v", a.Key.UID, a.Reason, a.Message, a.RetryAt.Sub(t0)-d.at))
			case Inspect:
				out = append(out, "inspect "+a.Image)
			case Lookup:
				out = append(out, fmt.Sprintf("%s: lookup", a.Key.UID))
			case Authorize:
				out = append(out, fmt.Sprintf("%s: authorize %s", a.Key.UID, a.Ref))
			case StartPull:
				out = append(out, fmt.Sprintf("pull %s as %s", a.Name.Full, a.By.UID))
			case CancelPull:
				out = append(out, "cancel")
			}
		}
	}
	return out
}

func (d *driver) expect(what string, got []string, want ...string) {
	d.t.Helper()
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		d.t.Fatalf("%s: got\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func wants(uid, image string, policy v1.PullPolicy) Want {
	n, err := Parse(image)
	w := Want{Key: Key{model.UID(uid), "c"}, Name: n, Policy: policy}
	if err != nil {
		w.Name.Requested, w.Err = image, err.Error()
	}
	return w
}

func ahead(w Want) Want { w.Ahead = true; return w }

// keys ends the lookup of a pod's credentials.
func (d *driver) keys(uid, fingerprint string) Found {
	k := Key{model.UID(uid), "c"}
	return Found{Key: k, Seq: d.s.Consumers[k].Seq, Fingerprint: fingerprint}
}

// done ends the pull that a pod waits for.
func (d *driver) done(uid string, err string) Pulled {
	p := Pulled{ID: d.s.Consumers[Key{model.UID(uid), "c"}].Pull, Ref: "sha256:1", Size: 5, Took: 1500 * time.Millisecond, Err: err}
	if err != "" {
		p.Ref, p.Reason, p.Message = "", ReasonErrImagePull, err
	}
	return p
}

func TestPresentImage(t *testing.T) {
	d := &driver{t: t, s: New(Config{})}
	d.expect("one look for all", d.feed(wants("a", "x", v1.PullIfNotPresent), wants("b", "x", v1.PullNever), wants("a", "x", v1.PullIfNotPresent)), "inspect x:latest")
	d.expect("answers", d.feed(Inspected{Image: "x:latest", Ref: "id"}, Inspected{Image: "x:latest", Ref: "id"}),
		`a: Normal Pulled Container image "x" already present on machine and can be accessed by the pod`, "a: ready id",
		`b: Normal Pulled Container image "x" already present on machine and can be accessed by the pod`, "b: ready id")
	d.at = presentFor - 1
	d.expect("the next one needs no look", d.feed(ahead(wants("c", "x", v1.PullIfNotPresent))), "c: ready id")
	d.expect("nor does its real ask", d.feed(wants("c", "x", v1.PullIfNotPresent)),
		`c: Normal Pulled Container image "x" already present on machine and can be accessed by the pod`, "c: ready id")
	d.expect("who was told and asks again gets one", d.feed(wants("a", "x", v1.PullIfNotPresent)), "inspect x:latest")
	d.expect("and it was gone", d.feed(Inspected{Image: "x:latest"}), "a: lookup")
	d.feed(Drop{"a"})
	d.expect("for others too", d.feed(wants("d", "x", v1.PullIfNotPresent)), "inspect x:latest")
	d.feed(Inspected{Image: "x:latest", Ref: "id"})
	d.at += presentFor
	d.expect("a look does not last", d.feed(wants("e", "x", v1.PullIfNotPresent)), "inspect x:latest")
	d.feed(Inspected{Image: "x:latest", Ref: "id"}, Removed{"x:latest"})
	d.expect("nor survives a removal", d.feed(wants("f", "x", v1.PullIfNotPresent)), "inspect x:latest")
}

func TestFailuresBeforeThePull(t *testing.T) {
	d := &driver{t: t, s: New(Config{})}
	d.expect("name", d.feed(wants("a", "UPPER", v1.PullAlways)),
		`a: Warning InspectFailed Failed to apply default image tag "UPPER": couldn't parse image name "UPPER": invalid reference format: repository name (library/UPPER) must be lowercase`,
		"a: Warning Failed Error: InvalidImageName",
		`a: InvalidImageName "Failed to apply default image tag \"UPPER\": couldn't parse image name \"UPPER\": invalid reference format: repository name (library/UPPER) must be lowercase" in 10s`)
	d.feed(wants("a", "x", v1.PullNever))
	d.expect("never", d.feed(Inspected{Image: "x:latest"}),
		`a: Warning ErrImageNeverPull Container image "x" is not present with pull policy of Never`,
		"a: Warning Failed Error: ErrImageNeverPull",
		`a: ErrImageNeverPull "Container image \"x\" is not present with pull policy of Never" in 10s`)
	d.feed(wants("a", "x", v1.PullIfNotPresent))
	d.expect("inspect", d.feed(Inspected{Image: "x:latest", Err: "boom"}),
		`a: Warning InspectFailed Failed to inspect image "x": boom`, "a: Warning Failed Error: ImageInspectError",
		`a: ImageInspectError "Failed to inspect image \"x\": boom" in 10s`)
	d.feed(wants("a", "x", v1.PullAlways))
	d.expect("credentials", d.feed(Found{Key: Key{"a", "c"}, Seq: d.s.Consumers[Key{"a", "c"}].Seq, Err: "bad secret", Missing: []string{"s", "t"}}),
		"a: Warning FailedToRetrieveImagePullSecret Unable to retrieve some image pull secrets (s, t); attempting to pull the image may not succeed.",
		"a: Warning Failed Error: ErrImagePull", `a: ErrImagePull "bad secret" in 10s`)
}

func TestPullIsSharedOnlyWithEqualCredentials(t *testing.T) {
	d := &driver{t: t, s: New(Config{})}
	d.expect("lookup", d.feed(wants("a", "r.io/x:1", v1.PullAlways), wants("b", "r.io/x:1", v1.PullAlways), wants("c", "r.io/x:1", v1.PullAlways)), "a: lookup", "b: lookup", "c: lookup")
	d.expect("a", d.feed(d.keys("a", "k1")), `a: Normal Pulling Pulling image "r.io/x:1"`, "pull r.io/x:1 as a")
	d.at += time.Second
	d.expect("b joins", d.feed(d.keys("b", "k1")), `b: Normal Pulling Pulling image "r.io/x:1"`)
	d.expect("c does not", d.feed(d.keys("c", "k2")), `c: Normal Pulling Pulling image "r.io/x:1"`, "pull r.io/x:1 as c")
	d.at += time.Second
	d.expect("both a and b get it", d.feed(d.done("a", "")),
		`a: Normal Pulled Successfully pulled image "r.io/x:1" in 1.5s (2s including waiting). Image size: 5 bytes.`, "a: ready sha256:1",
		`b: Normal Pulled Successfully pulled image "r.io/x:1" in 1.5s (1s including waiting). Image size: 5 bytes.`, "b: ready sha256:1")
	if d.s.Consumers[Key{"c", "c"}] == nil {
		t.Fatal("c was answered by a pull that is not its own")
	}
}

func TestBackoff(t *testing.T) {
	d := &driver{t: t, s: New(Config{})}
	for _, wait := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		wait *= time.Second
		d.expect("asks", d.feed(wants("a", "x:1", v1.PullAlways)), "a: lookup")
		d.feed(d.keys("a", ""))
		d.expect("fails", d.feed(d.done("a", "no route")),
			`a: Warning Failed Failed to pull image "x:1": no route`, "a: Warning Failed Error: ErrImagePull", `a: ErrImagePull "no route" in 2s`)
		d.at += showError
		d.expect("learns of the back-off", d.feed(wants("a", "x:1", v1.PullAlways)),
			`a: Normal BackOff Back-off pulling image "x:1"`, "a: Warning Failed Error: ImagePullBackOff",
			fmt.Sprintf(`a: ImagePullBackOff "Back-off pulling image \"x:1\": ErrImagePull: no route" in %v`, wait-showError))
		d.expect("a pull ahead is refused silently", d.feed(ahead(wants("a", "x:1", v1.PullAlways))),
			fmt.Sprintf(`a: ImagePullBackOff "Back-off pulling image \"x:1\": ErrImagePull: no route" in %v`, wait-showError))
		d.expect("another image or pod is free", d.feed(wants("a", "x:2", v1.PullAlways), wants("b", "x:1", v1.PullAlways)), "a: lookup", "b: lookup")
		d.feed(Drop{"b"})
		d.at += wait - showError
	}
	d.feed(wants("a", "x:1", v1.PullAlways))
	d.feed(d.keys("a", ""))
	d.feed(d.done("a", ""))
	d.feed(wants("a", "x:1", v1.PullAlways))
	d.feed(d.keys("a", ""))
	d.feed(d.done("a", "again"))
	d.at += 10 * time.Second
	d.expect("success forgot the past", d.feed(wants("a", "x:1", v1.PullAlways)), "a: lookup")
}

func TestPullAheadShowsNothing(t *testing.T) {
	d := &driver{t: t, s: New(Config{})}
	d.feed(ahead(wants("a", "x:1", v1.PullAlways)))
	d.expect("silent start", d.feed(d.keys("a", "")), "pull x:1 as a")
	d.expect("silent failure, no back-off", d.feed(d.done("a", "boom")), `a: ErrImagePull "boom" in 2s`)
	d.expect("the real ask pulls at once", d.feed(wants("a", "x:1", v1.PullAlways)), "a: lookup")
	d.feed(Drop{"a"}, ahead(wants("a", "x:1", v1.PullAlways)))
	d.feed(d.keys("a", ""))
	d.at += time.Second
	d.expect("its turn comes while it pulls", d.feed(wants("a", "x:1", v1.PullAlways)), `a: Normal Pulling Pulling image "x:1"`)
	d.expect("and it shows", d.feed(d.done("a", "")),
		`a: Normal Pulled Successfully pulled image "x:1" in 1.5s (0s including waiting). Image size: 5 bytes.`, "a: ready sha256:1")
}

func TestLimits(t *testing.T) {
	d := &driver{t: t, s: New(Config{Serialize: true, MaxParallel: 9})}
	start := func(uid, image string, pre bool) []string {
		w := wants(uid, image, v1.PullAlways)
		w.Ahead = pre
		d.feed(w)
		return d.feed(d.keys(uid, ""))
	}
	d.expect("first", start("a", "x:1", true), "pull x:1 as a")
	d.expect("ahead waits", start("b", "x:2", true))
	d.expect("so does this", start("c", "x:3", false), `c: Normal Pulling Pulling image "x:3"`)
	d.expect("whose turn it is goes first", d.feed(d.done("a", "")), "a: ready sha256:1", "pull x:3 as c")
	d.at += overdue
	d.expect("a pull that hangs leaves the count", d.feed(Tick{}), "pull x:2 as b")
	d.expect("dropping one that runs cancels it", d.feed(Drop{"b"}), "cancel")

	d = &driver{t: t, s: New(Config{MaxParallel: 2})}
	start("a", "x:1", false)
	start("b", "x:2", false)
	d.expect("the third waits", start("c", "x:3", false), `c: Normal Pulling Pulling image "x:3"`)
	d.expect("and starts", d.feed(d.done("b", "")),
		`b: Normal Pulled Successfully pulled image "x:2" in 1.5s (0s including waiting). Image size: 5 bytes.`, "b: ready sha256:1", "pull x:3 as c")

	d = &driver{t: t, s: New(Config{QPS: 5, Burst: 2})}
	start("a", "x:1", true)
	start("b", "x:2", true)
	d.expect("the bucket is empty", start("c", "x:3", true))
	if wake := d.s.TimerAt.Sub(t0); wake < 200*time.Millisecond || wake > 201*time.Millisecond {
		t.Errorf("woken after %v", wake)
	}
	d.at = d.s.TimerAt.Sub(t0)
	d.expect("refilled", d.feed(Tick{}), "pull x:3 as c")
}

func TestJoinedPullOutlivesItsFirstPod(t *testing.T) {
	d := &driver{t: t, s: New(Config{Serialize: true})}
	d.feed(wants("z", "y:1", v1.PullAlways))
	d.feed(d.keys("z", "")) // takes the slot
	d.feed(wants("a", "x:1", v1.PullAlways), wants("b", "x:1", v1.PullAlways))
	d.feed(d.keys("a", "k"), d.keys("b", "k"))
	d.expect("a leaves", d.feed(Drop{"a"}))
	got := d.feed(d.done("z", ""))
	d.expect("b's credentials are used", got[len(got)-1:], "pull x:1 as b")
}

func TestAnswersToAnEarlierAskAreIgnored(t *testing.T) {
	d := &driver{t: t, s: New(Config{Records: true})}
	d.feed(wants("a", "one.io/x:1", v1.PullAlways))
	old := d.keys("a", "secret of one.io")
	d.expect("another image is wanted", d.feed(wants("a", "two.io/x:1", v1.PullAlways)), "a: lookup")
	d.expect("the other registry's credentials do not count", d.feed(old))
	d.feed(wants("a", "x:1", v1.PullIfNotPresent))
	d.feed(Inspected{Image: "x:1", Ref: "id"})
	stale := Authorized{Key: Key{"a", "c"}, Seq: d.s.Consumers[Key{"a", "c"}].Seq, OK: true}
	d.feed(wants("a", "y:1", v1.PullIfNotPresent))
	d.feed(Inspected{Image: "y:1", Ref: "id2"})
	d.expect("nor does another image's permission", d.feed(stale))
}

func TestRecordsDecideWhoMayUse(t *testing.T) {
	d := &driver{t: t, s: New(Config{Records: true})}
	d.feed(wants("a", "x:1", v1.PullIfNotPresent), wants("b", "x:1", v1.PullIfNotPresent), wants("c", "x:1", v1.PullNever))
	d.expect("asked", d.feed(Inspected{Image: "x:1", Ref: "id"}), "a: authorize id", "b: authorize id", "c: authorize id")
	answer := func(uid string, ok bool) []string {
		k := Key{model.UID(uid), "c"}
		return d.feed(Authorized{Key: k, Seq: d.s.Consumers[k].Seq, OK: ok})
	}
	if got := answer("a", true); got[len(got)-1] != "a: ready id" {
		t.Error(got)
	}
	d.expect("b has to pull", answer("b", false), "b: lookup")
	if got := answer("c", false); !strings.Contains(got[0], "is not present with pull policy of Never") {
		t.Error("the presence of a private image shows:", got)
	}
}

func TestNames(t *testing.T) {
	for image, want := range map[string]Name{
		"busybox":                     {"busybox", "busybox:latest", "docker.io/library/busybox", "docker.io"},
		"me/app:1":                    {"me/app:1", "me/app:1", "docker.io/me/app", "docker.io"},
		"localhost:5000/a/b":          {"localhost:5000/a/b", "localhost:5000/a/b:latest", "localhost:5000/a/b", "localhost:5000"},
		"r.io/x@sha256:" + zeros:      {"r.io/x@sha256:" + zeros, "r.io/x@sha256:" + zeros, "r.io/x", "r.io"},
		"r.io/x:2@sha256:" + zeros:    {"r.io/x:2@sha256:" + zeros, "r.io/x:2@sha256:" + zeros, "r.io/x", "r.io"},
		"registry.k8s.io/pause:3.10":  {"registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10", "registry.k8s.io/pause", "registry.k8s.io"},
		"r.io:443/latest/x:notlatest": {"r.io:443/latest/x:notlatest", "r.io:443/latest/x:notlatest", "r.io:443/latest/x", "r.io:443"},
	} {
		if got, err := Parse(image); err != nil || got != want {
			t.Errorf("%s: %+v, %v", image, got, err)
		}
	}
	for _, bad := range []string{"", "a b", "x:", "r.io/X", "x@sha256:1", strings.Repeat("a", 300)} {
		if n, err := Parse(bad); err == nil {
			t.Errorf("%q passed as %+v", bad, n)
		}
	}
	for image, want := range map[string]v1.PullPolicy{"x": v1.PullAlways, "x:latest": v1.PullAlways, "x:1": v1.PullIfNotPresent, "x@sha256:" + zeros: v1.PullIfNotPresent, "x:latest@sha256:" + zeros: v1.PullIfNotPresent} {
		if got := DefaultPolicy(image); got != want {
			t.Errorf("policy of %s: %s", image, got)
		}
	}
}

var zeros = strings.Repeat("0", 64)

// Whatever comes in whatever order: each ask is answered at most once, pulls stay within their limits, two pulls of one
// image never have equal credentials, and when every call ends everyone is answered.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			Serialize: rapid.Bool().Draw(t, "serialize"), MaxParallel: rapid.IntRange(0, 2).Draw(t, "parallel"),
			QPS: float64(rapid.IntRange(0, 2).Draw(t, "qps")), Burst: rapid.IntRange(0, 2).Draw(t, "burst"), Records: rapid.Bool().Draw(t, "records"),
		}
		s := New(cfg)
		at := time.Duration(0)
		open := map[Key]bool{}      // asked and not answered
		var inspects []string       // in flight
		var lookups []Lookup        // in flight
		var auths []Authorize       // in flight
		pulls := map[uint64]Name{}  // in flight
		began := map[uint64]int64{} // when
		timer := time.Time{}
		step := func(e Event) {
			var acts []Action
			s, acts = Next(s, e, t0.Add(at))
			for _, a := range acts {
				switch a := a.(type) {
				case Inspect:
					inspects = append(inspects, a.Image)
				case Lookup:
					lookups = append(lookups, a)
				case Authorize:
					auths = append(auths, a)
				case StartPull:
					if _, again := pulls[a.ID]; again {
						t.Fatal("a pull was started twice")
					}
					if s.Consumers[a.By] == nil {
						t.Fatal("a pull with the credentials of nobody")
					}
					pulls[a.ID], began[a.ID] = a.Name, int64(at)
				case CancelPull:
					delete(pulls, a.ID)
				case Ready:
					if !open[a.Key] {
						t.Fatalf("%v answered without an ask", a.Key)
					}
					delete(open, a.Key)
				case Failed:
					if !open[a.Key] {
						t.Fatalf("%v answered without an ask", a.Key)
					}
					if !a.RetryAt.After(t0.Add(at)) {
						t.Fatalf("asked to retry in the past")
					}
					delete(open, a.Key)
				case SetTimer:
					timer = a.At
				}
			}
			young := 0
			for id := range pulls {
				if at-time.Duration(began[id]) < overdue {
					young++
				}
			}
			if w := cfg.width(); w > 0 && young > w {
				t.Fatalf("%d pulls run, %d may", young, w)
			}
			seen := map[string]bool{}
			for _, p := range s.Pulls {
				key := p.Name.Full + "|" + p.Fingerprint
				if seen[key] {
					t.Fatalf("two pulls of %s", key)
				}
				seen[key] = true
				if len(p.waiting) == 0 {
					t.Fatal("a pull for nobody")
				}
				for k := range p.waiting {
					if c := s.Consumers[k]; c == nil || c.Pull != p.ID {
						t.Fatal("a pull for somebody else")
					}
				}
			}
		}
		finish := func(ok bool) bool { // ends one call, oldest kind first
			errText := ""
			if !ok {
				errText = "boom"
			}
			switch {
			case len(inspects) > 0:
				image := inspects[0]
				inspects = inspects[1:]
				ref := ""
				if at%2 == 0 {
					ref = "id"
				}
				step(Inspected{Image: image, Ref: ref, Err: errText})
			case len(auths) > 0:
				a := auths[0]
				auths = auths[1:]
				step(Authorized{Key: a.Key, Seq: a.Seq, OK: ok})
			case len(lookups) > 0:
				l := lookups[0]
				lookups = lookups[1:]
				step(Found{Key: l.Key, Seq: l.Seq, Fingerprint: string(l.Key.UID[:1]), Err: errText})
			case len(pulls) > 0:
				for id := range pulls {
					delete(pulls, id)
					step(Pulled{ID: id, Ref: "ref", Err: errText, Reason: ReasonErrImagePull, Message: errText})
					break
				}
			default:
				return false
			}
			return true
		}
		for range rapid.IntRange(0, 80).Draw(t, "steps") {
			at += time.Duration(rapid.SampledFrom([]int{0, 1, 100, 5000, 70000}).Draw(t, "ms")) * time.Millisecond
			uid := rapid.SampledFrom([]string{"a1", "a2", "b1", "b2"}).Draw(t, "uid")
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0, 1:
				w := wants(uid, rapid.SampledFrom([]string{"x:1", "y:1", "BAD"}).Draw(t, "image"),
					rapid.SampledFrom([]v1.PullPolicy{v1.PullAlways, v1.PullIfNotPresent, v1.PullNever}).Draw(t, "policy"))
				w.Key.Container = rapid.SampledFrom([]string{"c", "d"}).Draw(t, "container")
				w.Ahead = rapid.Bool().Draw(t, "ahead")
				open[w.Key] = true
				step(w)
			case 2, 3:
				finish(rapid.Bool().Draw(t, "ok"))
			case 4:
				step(Drop{model.UID(uid)})
				for k := range open {
					if string(k.UID) == uid {
						delete(open, k)
					}
				}
			case 5:
				if !timer.IsZero() && !timer.After(t0.Add(at)) {
					timer = time.Time{}
					step(Tick{})
				}
			}
		}
		for i := 0; len(s.Consumers) > 0; i++ {
			if i > 500 {
				t.Fatalf("does not come to rest: %d consumers, %d pulls", len(s.Consumers), len(s.Pulls))
			}
			if finish(true) {
				continue
			}
			if timer.IsZero() {
				t.Fatalf("consumers wait for nothing: %+v", s.Consumers)
			}
			at = max(at, timer.Sub(t0))
			timer = time.Time{}
			step(Tick{})
		}
		if len(open) > 0 || len(s.Pulls) > 0 {
			t.Fatalf("at rest with %v open and %d pulls", open, len(s.Pulls))
		}
	})
}
