package garbageplan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/troupe-dev/troupe/messages/model"
)

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// instances reads "pod/container#attempt state" words, separated by commas; every one was created a minute after the one before it.
func instances(text string) []model.Container {
	var out []model.Container
	list := strings.Split(text, ",")
	for i, word := range list {
		f := strings.Fields(word)
		if len(f) == 0 {
			continue
		}
		var c model.Container
		who, attempt, _ := strings.Cut(f[0], "#")
		uid, name, _ := strings.Cut(who, "/")
		fmt.Sscan(attempt, &c.Attempt)
		c.UID, c.Name, c.ID = model.UID(uid), name, model.ContainerID(f[0])
		c.Sandbox = model.SandboxID("s-" + uid)
		c.State = map[string]model.ContainerState{"run": model.ContainerRunning, "exit": model.ContainerExited, "new": model.ContainerCreated, "unknown": model.ContainerUnknown}[f[1]]
		c.CreatedAt = now.Add(time.Duration(i-len(list)) * time.Minute)
		out = append(out, c)
	}
	slices.Reverse(out)
	return out
}

func pods(told string, uids ...string) map[model.UID]Pod {
	out := map[model.UID]Pod{}
	for _, uid := range uids {
		ended := strings.HasSuffix(uid, "!")
		uid = strings.TrimSuffix(uid, "!")
		p := Pod{Ended: ended, Told: map[model.ContainerID]struct{}{}}
		for _, id := range strings.Fields(told) {
			p.Told[model.ContainerID(id)] = struct{}{}
		}
		out[model.UID(uid)] = p
	}
	return out
}

func ids(list []model.Container) string {
	var out []string
	for _, c := range list {
		out = append(out, string(c.ID))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestContainers(t *testing.T) {
	kubelet := Policy{MaxPerContainer: 1, MaxTotal: -1}
	for name, c := range map[string]struct {
		in   Input
		want string
	}{
		"one dead beside one that runs":    {Input{Policy: kubelet, Pods: pods("", "a"), Containers: instances("a/c#0 exit,a/c#1 run")}, ""},
		"two dead":                         {Input{Policy: kubelet, Pods: pods("", "a"), Containers: instances("a/c#0 exit,a/c#1 exit,a/c#2 run")}, "a/c#0"},
		"crash loop, end told":             {Input{Policy: kubelet, Pods: pods("a/c#2", "a"), Containers: instances("a/c#0 exit,a/c#1 exit,a/c#2 exit")}, "a/c#0 a/c#1"},
		"crash loop, end not told":         {Input{Policy: kubelet, Pods: pods("a/c#1", "a"), Containers: instances("a/c#0 exit,a/c#1 exit,a/c#2 exit")}, "a/c#0"},
		"being created":                    {Input{Policy: kubelet, Pods: pods("a/c#0", "a"), Containers: instances("a/c#0 exit,a/c#1 new")}, ""},
		"containers count apart":           {Input{Policy: kubelet, Pods: pods("", "a"), Containers: instances("a/c#0 exit,a/d#0 exit,a/c#1 run,a/d#1 run")}, ""},
		"not ours":                         {Input{Policy: kubelet, Pods: pods(""), Containers: instances("a/c#0 exit,a/c#1 exit,a/c#2 run")}, ""},
		"keep none":                        {Input{Policy: Policy{MaxTotal: -1}, Pods: pods("a/c#1", "a"), Containers: instances("a/c#0 exit,a/c#1 exit")}, "a/c#0 a/c#1"},
		"keep all":                         {Input{Policy: Policy{MaxPerContainer: -1, MaxTotal: -1}, Pods: pods("a/c#1", "a"), Containers: instances("a/c#0 exit,a/c#1 exit")}, ""},
		"old unknown":                      {Input{Policy: kubelet, Pods: pods("", "a"), Containers: instances("a/c#0 unknown,a/c#1 exit,a/c#2 run")}, "a/c#0"},
		"newest unknown":                   {Input{Policy: Policy{MaxTotal: -1}, Pods: pods("a/c#0", "a"), Containers: instances("a/c#0 unknown")}, ""},
		"too young":                        {Input{Policy: Policy{MinAge: time.Hour, MaxPerContainer: 1, MaxTotal: -1}, Pods: pods("", "a"), Containers: instances("a/c#0 exit,a/c#1 exit,a/c#2 run")}, ""},
		"ended, not asked for all":         {Input{Policy: kubelet, Pods: pods("a/c#0", "a!"), Containers: instances("a/c#0 exit")}, ""},
		"ended, asked for all":             {Input{All: true, Policy: kubelet, Pods: pods("a/c#0", "a!"), Containers: instances("a/c#0 exit")}, "a/c#0"},
		"asked for all, lives":             {Input{All: true, Policy: kubelet, Pods: pods("a/c#0", "a"), Containers: instances("a/c#0 exit")}, ""},
		"total, one each stays":            {Input{Policy: Policy{MaxPerContainer: 5, MaxTotal: 2}, Pods: pods("", "a"), Containers: instances("a/c#0 exit,a/c#1 exit,a/d#0 exit,a/d#1 exit,a/c#2 run,a/d#2 run")}, "a/c#0 a/d#0"},
		"total, then the oldest of all":    {Input{Policy: Policy{MaxPerContainer: 5, MaxTotal: 1}, Pods: pods("", "a"), Containers: instances("a/c#0 exit,a/d#0 exit,a/c#1 run,a/d#1 run")}, "a/c#0"},
		"total of none":                    {Input{Policy: Policy{MaxPerContainer: 1, MaxTotal: 0}, Pods: pods("", "a"), Containers: instances("a/c#0 exit,a/c#1 run")}, "a/c#0"},
		"attempts tell same-time ones":     {Input{Policy: kubelet, Pods: pods("", "a"), Containers: sameTime(instances("a/c#0 exit,a/c#1 exit,a/c#2 run"))}, "a/c#0"},
		"young ones do not count as extra": {Input{Policy: Policy{MinAge: 150 * time.Second, MaxPerContainer: 1, MaxTotal: -1}, Pods: pods("", "a"), Containers: instances("a/c#0 exit,a/c#1 exit,a/c#2 exit,a/c#3 run")}, "a/c#0"},
	} {
		c.in.Now = now
		if got := ids(Next(c.in).Containers); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func sameTime(list []model.Container) []model.Container {
	for i := range list {
		list[i].CreatedAt = now.Add(-time.Hour)
	}
	return list
}

func TestAgain(t *testing.T) {
	in := Input{Now: now, Policy: Policy{MinAge: time.Hour, MaxPerContainer: 1, MaxTotal: -1}, Pods: pods("", "a"), Containers: instances("a/c#0 exit,a/c#1 exit,a/c#2 run")}
	if got := Next(in).Again; !got.Equal(now.Add(57 * time.Minute)) {
		t.Errorf("again in %v", got.Sub(now))
	}
	in.Now = now.Add(57 * time.Minute)
	in.Containers = in.Containers[2:] // only the oldest
	if got := Next(in).Again; !got.IsZero() {
		t.Errorf("nothing is too young: %v", got)
	}
}

func TestSandboxes(t *testing.T) {
	box := func(uid, id string, age int, ready bool) model.Sandbox {
		b := model.Sandbox{ID: model.SandboxID(id), UID: model.UID(uid), State: model.SandboxNotReady, CreatedAt: now.Add(-time.Duration(age) * time.Minute)}
		if ready {
			b.State = model.SandboxReady
		}
		return b
	}
	in := Input{Now: now, Policy: Policy{MaxPerContainer: 1, MaxTotal: -1}, Pods: pods("e/c#0", "a", "b", "e!"), Sandboxes: []model.Sandbox{
		box("a", "a-old", 9, false), box("a", "a-holds", 8, false), box("a", "a-ready-old", 7, true), box("a", "a-now", 6, true),
		box("b", "b-old", 9, false), box("b", "b-dead", 8, false),
		box("x", "x-old", 9, false), box("x", "x-now", 8, true),
		box("e", "s-e", 9, false),
	}, Containers: instances("a/c#0 exit,a/c#1 run,e/c#0 exit")}
	in.Containers[2].Sandbox = "a-holds"
	in.Containers[1].Sandbox = "a-now"
	list := func(out Output) string {
		var names []string
		for _, b := range out.Sandboxes {
			names = append(names, string(b.ID))
		}
		return strings.Join(names, " ")
	}
	if got := list(Next(in)); got != "a-old b-old" {
		t.Errorf("%q", got)
	}
	in.All = true
	if got := list(Next(in)); got != "a-old b-old s-e" {
		t.Errorf("all: %q", got)
	}
}

func TestFiles(t *testing.T) {
	file := func(dir *LogDir, name string, attempt uint32, path string) {
		dir.Files = append(dir.Files, LogFile{Path: path, Container: name, Attempt: attempt})
	}
	old := now.Add(-time.Hour)
	a := LogDir{Path: "a", UID: "a", Modified: now}
	file(&a, "c", 0, "a/c/0.log")
	file(&a, "c", 0, "a/c/0.log.x.gz")
	file(&a, "c", 1, "a/c/1.log")
	file(&a, "c", 2, "a/c/2.log")
	file(&a, "c", 3, "a/c/3.log")
	file(&a, "forgotten", 4, "a/forgotten/4.log")
	file(&a, "forgotten", 3, "a/forgotten/3.log")
	out := Next(Input{
		Now: now, Policy: Policy{MaxPerContainer: 1, MaxTotal: -1}, Pods: pods("", "a"),
		Containers: instances("a/c#1 exit,a/c#2 exit,a/c#3 run,o/c#0 run,o/c#1 run"),
		Logs:       []LogDir{a, {Path: "gone", UID: "g", Modified: old}, {Path: "young", UID: "y", Modified: now.Add(-time.Minute)}, {Path: "orphan", UID: "o", Modified: old}},
		Links:      []Link{{"l-gone", "nobody"}, {"l-run", "a/c#3"}, {"l-exit", "a/c#2"}, {"l-?", ""}},
	})
	if got := strings.Join(out.Files, " "); got != "a/c/0.log a/c/0.log.x.gz a/c/1.log a/forgotten/3.log" {
		t.Errorf("files %q", got)
	}
	if got := strings.Join(out.Dirs, " "); got != "gone" || !out.Again.Equal(now.Add(9*time.Minute)) {
		t.Errorf("dirs %q, again %v", got, out.Again)
	}
	if got := strings.Join(out.Links, " "); got != "l-gone l-exit l-?" {
		t.Errorf("links %q", got)
	}
}

// Whatever is found and whatever the limits are: nothing that lives goes, and nothing of a pod that is not ours; the limits
// hold for what may go; a second round finds nothing.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Input{Now: now, Pods: map[model.UID]Pod{}, All: rapid.Bool().Draw(t, "all"), Policy: Policy{
			MaxPerContainer: rapid.IntRange(-1, 3).Draw(t, "each"), MaxTotal: rapid.IntRange(-1, 6).Draw(t, "total"),
			MinAge: time.Duration(rapid.IntRange(0, 30).Draw(t, "age")) * time.Minute,
		}}
		for i := range 3 {
			if uid := model.UID(fmt.Sprint(i)); rapid.Bool().Draw(t, "owned") {
				in.Pods[uid] = Pod{Ended: rapid.Bool().Draw(t, "ended"), Told: map[model.ContainerID]struct{}{}}
			}
		}
		for i := range rapid.IntRange(0, 14).Draw(t, "n") {
			uid := model.UID(fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "pod")))
			c := model.Container{
				ID: model.ContainerID(fmt.Sprint("c", i)), UID: uid, Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name"), Attempt: uint32(i),
				State:     model.ContainerState(rapid.IntRange(0, 3).Draw(t, "state")),
				CreatedAt: now.Add(-time.Duration(rapid.IntRange(0, 60).Draw(t, "created")) * time.Minute),
				Sandbox:   model.SandboxID(fmt.Sprint("s", uid, rapid.IntRange(0, 2).Draw(t, "box"))),
			}
			in.Containers = append(in.Containers, c)
			if pod, ok := in.Pods[uid]; ok && rapid.Bool().Draw(t, "told") {
				pod.Told[c.ID] = struct{}{}
			}
		}
		for i := range 9 {
			uid := fmt.Sprint(i / 3)
			in.Sandboxes = append(in.Sandboxes, model.Sandbox{
				ID: model.SandboxID(fmt.Sprint("s", uid, i%3)), UID: model.UID(uid), State: model.SandboxState(rapid.IntRange(0, 1).Draw(t, "ready")),
				CreatedAt: now.Add(time.Duration(i%3) * time.Minute),
			})
		}
		out := Next(in)
		gone := map[model.ContainerID]bool{}
		for _, c := range out.Containers {
			if c.State == model.ContainerRunning || c.State == model.ContainerCreated {
				t.Fatalf("%s lives", c.ID)
			}
			if _, ok := in.Pods[c.UID]; !ok {
				t.Fatalf("%s is not ours", c.ID)
			}
			if in.Now.Sub(c.CreatedAt) < in.Policy.MinAge {
				t.Fatalf("%s is too young", c.ID)
			}
			gone[c.ID] = true
		}
		boxes := map[model.SandboxID]bool{}
		for _, b := range out.Sandboxes {
			boxes[b.ID] = true
			if b.State == model.SandboxReady {
				t.Fatalf("%s is ready", b.ID)
			}
			if b.ID[len(b.ID)-1] == '2' && !(in.All && in.Pods[b.UID].Ended) {
				t.Fatalf("%s is the newest of its pod", b.ID)
			}
		}
		rest := in
		rest.Containers, rest.Sandboxes = nil, nil
		for _, c := range in.Containers {
			if !gone[c.ID] {
				if boxes[c.Sandbox] {
					t.Fatalf("%s goes with %s in it", c.Sandbox, c.ID)
				}
				rest.Containers = append(rest.Containers, c)
			}
		}
		for _, b := range in.Sandboxes {
			if !boxes[b.ID] {
				rest.Sandboxes = append(rest.Sandboxes, b)
			}
		}
		if again := Next(rest); len(again.Containers)+len(again.Sandboxes) > 0 {
			t.Fatalf("a second round removes %v %v", ids(again.Containers), again.Sandboxes)
		}
	})
}
