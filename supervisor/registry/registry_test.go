package registry

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

func TestTreeAndFind(t *testing.T) {
	g := New()
	pods := g.Add(nil, "pods", "pods")
	b := g.Add(pods, "b", "pod")
	a := g.Add(pods, "a", "pod")
	c := g.Add(a, "web", "container")
	c.SetState("Up")
	c.SetDetail(map[string]int{"x": 1})
	if c.Path() != "/pods/a/web" || g.Len() != 4 {
		t.Fatal(c.Path(), g.Len())
	}
	tree := g.Snapshot()
	if len(tree.Roots) != 1 || len(tree.Roots[0].Children) != 2 || tree.Roots[0].Children[0].Name != "a" {
		t.Fatalf("%+v", tree)
	}
	text, err := json.Marshal(tree)
	if err != nil || !strings.Contains(string(text), `"path":"/pods/a/web"`) || !strings.Contains(string(text), `"detail":{"x":1}`) {
		t.Fatal(string(text), err)
	}
	if n, ok := g.Find("pods/a/web/"); !ok || n.State != "Up" {
		t.Errorf("%+v %v", n, ok)
	}
	for _, p := range []string{"", "/", "/pods/x", "/pods/a/web/y"} {
		if _, ok := g.Find(p); ok {
			t.Errorf("found %q", p)
		}
	}
	a.Remove()
	a.Remove()
	if _, ok := g.Find("/pods/a/web"); ok || g.Len() != 2 {
		t.Error("subtree is still there", g.Len())
	}
	if late := g.Add(a, "late", "x"); g.Len() != 2 || late == nil {
		t.Error("an actor joined one that is gone")
	}
	// A new actor of the same name replaces the old one, whose removal does not touch it.
	b2 := g.Add(pods, "b", "pod")
	b.Remove()
	if g.Lookup("/pods/b") != b2 || g.Len() != 2 {
		t.Error("the new b is gone", g.Len())
	}
	g.Add(b2, "x", "container")
	if names := pods.Orphan(); len(names) != 1 || names[0] != "b" || g.Len() != 1 {
		t.Error(names, g.Len())
	}
}

func TestFlightRecorder(t *testing.T) {
	g := New()
	e := g.Add(nil, "a", "pod")
	for i := range 100 {
		e.Event("dirty")
		e.Action("CreateContainer", ID(fmt.Sprint("c", i)), Took(time.Duration(i)*time.Millisecond), Class("unknown"))
	}
	n, _ := g.Find("/a")
	if len(n.Events) != 32 || len(n.Actions) != 32 {
		t.Fatal(len(n.Events), len(n.Actions))
	}
	for i, f := range n.Actions {
		want := 68 + i
		if f.ID != fmt.Sprint("c", want) || f.Took != time.Duration(want)*time.Millisecond || f.Class != "unknown" || f.Kind != "CreateContainer" {
			t.Fatalf("%d: %+v", i, f)
		}
	}
	if n.Events[0].Class != "" || n.Events[0].ID != "" || n.Events[0].Took != 0 {
		t.Errorf("%+v", n.Events[0])
	}
}

func TestMessageAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New()
		e := g.Add(nil, "a", "pod")
		depth := 7
		e.SetMailbox(func() int { return depth })
		e.Begin(reflect.TypeFor[time.Time](), 3*time.Second, time.Now())
		time.Sleep(time.Minute)
		stuck := g.Stuck(time.Now(), time.Minute)
		if len(stuck) != 1 || stuck[0].InHand != "time.Time" || stuck[0].Mailbox != 7 || stuck[0].MaxWaited != 3*time.Second {
			t.Fatalf("%+v", stuck)
		}
		if len(g.Stuck(time.Now(), time.Minute+1)) != 0 {
			t.Error("threshold")
		}
		e.End(time.Now())
		n, _ := g.Find("/a")
		if n.InHand != "" || n.Handled != 1 || n.Busy != time.Minute || n.Events[0].Took != time.Minute || n.Events[0].Kind != "time.Time" {
			t.Errorf("%+v", n)
		}
		other := g.Add(nil, "b", "pod")
		other.SetMailbox(func() int { return 9 })
		g.Add(nil, "c", "pod").SetMailbox(func() int { return 0 })
		if top := g.Top(5); len(top) != 2 || top[0].Name != "b" || top[1].Name != "a" {
			t.Errorf("%+v", top)
		}
		if top := g.Top(1); len(top) != 1 {
			t.Errorf("%+v", top)
		}
	})
}

func TestNilEntryDoesNothing(t *testing.T) {
	var e *Entry
	e.SetState("x")
	e.SetDetail(1)
	e.Event("x")
	e.Action("x")
	e.Incarnated(true)
	e.SetMailbox(nil)
	e.Begin(nil, 0, time.Time{})
	e.End(time.Time{})
	e.Panicked(Panic{})
	e.Quarantined(time.Time{})
	e.Dropped()
	e.Remove()
	if e.Path() != "" || e.Kind() != "" || e.Detail() != nil || e.Orphan() != nil {
		t.Error("nil is somebody")
	}
}

// Kinds composed at run time must not grow the table for ever.
func TestNamesAreBounded(t *testing.T) {
	var n names
	for i := range 2 * maxNames {
		n.number(fmt.Sprint(i))
	}
	if len(n.list) != maxNames || n.name(n.number("never seen")) != "other" || n.name(n.number("17")) != "17" || n.name(n.number("")) != "" {
		t.Error(len(n.list))
	}
}

func TestSmall(t *testing.T) {
	if s := unsafe.Sizeof(Record{}); s > 40 {
		t.Errorf("a record has %d bytes", s)
	}
	if s := unsafe.Sizeof(Entry{}); s > 480 {
		t.Errorf("an entry has %d bytes", s)
	}
}

func TestConcurrent(t *testing.T) {
	g := New()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 300 {
				e := g.Add(nil, fmt.Sprint((w*7+i)%10), "x")
				k := g.Add(e, "k", "y")
				k.Event("e")
				k.Begin(reflect.TypeFor[int](), 0, time.Now())
				k.SetState("s")
				k.SetDetail(i)
				g.Snapshot()
				k.End(time.Now())
				g.Top(3)
				g.Stuck(time.Now(), 0)
				if i%3 == 0 {
					e.Remove()
				}
			}
		})
	}
	wg.Wait()
	for _, r := range g.Snapshot().Roots {
		g.Lookup(r.Path).Remove()
	}
	if g.Len() != 0 {
		t.Error(g.Len())
	}
}
