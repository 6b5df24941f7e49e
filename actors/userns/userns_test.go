package userns

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/userns/usernsfile"
	"github.com/troupe-dev/troupe/actors/userns/usernsplan"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/usernsmsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

const unit = usernsplan.Unit

type rig struct {
	t   *testing.T
	dir string
	ask Ask
	ref spawn.Ref
	end func()
}

// start begins an actor over a directory, as an agent's start does.
func start(t *testing.T, dir string) *rig {
	t.Helper()
	produce, err := New(Deps{Runner: runner.New(runner.Config{}), Logger: klog.Background()},
		Config{PodsDir: dir, Plan: usernsplan.Config{IDs: model.IDRange{First: unit, Length: 3 * unit}, PerPod: unit, MaxPods: 3}})
	if err != nil {
		t.Fatal(err)
	}
	sys := spawn.NewSystem(spawn.Config{OnPanic: func(p spawn.PanicInfo) { t.Logf("panic in %s: %s", p.Where, p.Value) }})
	r := &rig{t: t, dir: dir, ref: sys.Root("userns", Kind, produce)}
	r.ask = Ask{To: r.ref, PodsDir: dir}
	r.end = func() {
		if err := sys.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute) // the actor library's last goroutines
	}
	return r
}

func (r *rig) want(uid model.UID, first uint32) {
	r.t.Helper()
	got, err := r.ask.Range(context.Background(), uid)
	if err != nil || got != (model.IDRange{First: first, Length: unit}) {
		r.t.Errorf("pod %s got %v %v, want the range from %d", uid, got, err, first)
	}
	if kept, err := r.ask.Recorded(uid); err != nil || kept != got {
		r.t.Errorf("pod %s: on disk is %v %v", uid, kept, err)
	}
}

func TestRangesAreKeptOverRestarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pods")
	synctest.Test(t, func(t *testing.T) {
		r := start(t, dir)
		r.want("a", unit)
		r.want("b", 2*unit)
		r.want("a", unit)
		r.end()

		r = start(t, dir)
		r.want("c", 3*unit) // not one that the disk knows
		r.want("b", 2*unit)
		if _, err := r.ask.Range(context.Background(), "d"); err == nil {
			t.Error("a fourth pod got one of three ranges")
		}
		r.ref.Tell(usernsmsg.Drop{UID: "a"})
		r.ref.Tell(usernsmsg.Drop{UID: "a"})
		synctest.Wait()
		if _, err := r.ask.Recorded("a"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the record of a pod that ended: %v", err)
		}
		r.want("d", unit)
		r.end()

		r = start(t, dir)
		r.ref.Tell(usernsmsg.Sweep{Owned: map[model.UID]struct{}{"b": {}}})
		synctest.Wait()
		r.want("e", 3*unit)
		r.want("f", unit)
		r.want("b", 2*unit)
		r.end()
	})
}

// Records that cannot be used are nobody's range, and no reason not to start.
func TestBadRecords(t *testing.T) {
	dir := t.TempDir()
	write := func(uid, text string) {
		if err := os.MkdirAll(filepath.Join(dir, uid), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, uid, usernsfile.Name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("torn", `{"uidMappings":[{"hos`)
	write("foreign", `{"uidMappings":[{"hostId":655360,"containerId":0,"length":65536}],"gidMappings":[{"hostId":655360,"containerId":0,"length":65536}]}`)
	synctest.Test(t, func(t *testing.T) {
		r := start(t, dir)
		r.want("a", unit)
		r.end()
	})
}

// A disk that does not take the record gives no range, and the range is not lost by it.
func TestRecordCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pods")
	synctest.Test(t, func(t *testing.T) {
		r := start(t, file)
		synctest.Wait()
		if err := os.WriteFile(file, nil, 0o600); err != nil { // where the directory should be
			t.Fatal(err)
		}
		for range 5 {
			if _, err := r.ask.Range(context.Background(), "a"); err == nil {
				t.Error("got a range without a record")
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		r.ref.Tell(usernsmsg.Drop{UID: "a"})
		synctest.Wait()
		for _, uid := range []model.UID{"a", "b", "c"} {
			if _, err := r.ask.Range(context.Background(), uid); err != nil {
				t.Errorf("pod %s: %v", uid, err)
			}
		}
		r.end()
	})
}

// A pod that asks while it is being dropped gets an answer, and the range is its own.
func TestWantAfterDrop(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, dir)
		r.want("a", unit)
		got := make(chan usernsmsg.Have, 1)
		r.ref.Tell(usernsmsg.Drop{UID: "a"})
		r.ref.Tell(usernsmsg.Want{UID: "a", Reply: messages.SinkFunc(func(m any) { got <- m.(usernsmsg.Have) })})
		h := <-got
		if h.Err != nil {
			t.Fatal(h.Err)
		}
		if kept, err := r.ask.Recorded("a"); err != nil || kept != h.Range {
			t.Errorf("on disk is %v %v, the answer was %v", kept, err, h.Range)
		}
		r.end()
	})
}
