package file

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/podsmsg"
)

func manifestText(name, image string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {containers: [{name: c, image: %q}]}\n", name, image)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// Two writes within the clock's granularity must still differ.
	stamp = stamp.Add(time.Second)
	if err := os.Chtimes(path, stamp, stamp); err != nil {
		t.Fatal(err)
	}
}

var stamp = time.Unix(1e9, 0)

type recorder struct{ messages []any }

func (r *recorder) take() (assigned, removed, synced int) {
	for _, m := range r.messages {
		switch m.(type) {
		case podsmsg.Assigned:
			assigned++
		case podsmsg.Removed:
			removed++
		case podsmsg.SourceSynced:
			synced++
		}
	}
	r.messages = nil
	return
}

func TestScan(t *testing.T) {
	dir := t.TempDir()
	r := &recorder{}
	s := New(Deps{Pods: messages.SinkFunc(func(m any) { r.messages = append(r.messages, m) }), Logger: klog.Background()}, Config{Path: dir + "/", NodeName: "n"})
	step := func(what string, do func(), assigned, removed, synced int) {
		t.Helper()
		do()
		s.Scan()
		a, d, y := r.take()
		if a != assigned || d != removed || y != synced {
			t.Errorf("%s: %d assigned, %d removed, %d synced; want %d, %d, %d", what, a, d, y, assigned, removed, synced)
		}
	}
	a, b := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
	step("empty folder", func() {}, 0, 0, 1)
	step("new file", func() { write(t, a, manifestText("a", "i:1")) }, 1, 0, 0)
	step("nothing", func() {}, 0, 0, 0)
	step("touched", func() { write(t, a, manifestText("a", "i:1")) }, 0, 0, 0)
	step("changed", func() { write(t, a, manifestText("a", "i:2")) }, 1, 1, 0)
	step("spoilt keeps what runs", func() { write(t, a, "apiVersion: v1\nkind: Po") }, 0, 0, 0)
	step("mended", func() { write(t, a, manifestText("a", "i:2")) }, 0, 0, 0)
	step("same name in another file", func() { write(t, b, manifestText("a", "i:3")) }, 0, 0, 0)
	step("first of the two removed", func() { os.Remove(a) }, 1, 1, 0)
	step("hidden and folder", func() {
		write(t, filepath.Join(dir, ".x.yaml"), manifestText("x", "i"))
		os.Mkdir(filepath.Join(dir, "sub"), 0o700)
	}, 0, 0, 0)
	step("folder gone", func() { os.RemoveAll(dir) }, 0, 1, 0)
}

func TestSameUIDIsAnUpdate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pod.yaml")
	var got []podsmsg.Assigned
	s := New(Deps{Pods: messages.SinkFunc(func(m any) {
		if a, ok := m.(podsmsg.Assigned); ok {
			got = append(got, a)
		}
	}), Logger: klog.Background()}, Config{Path: path, NodeName: "n"})
	text := "apiVersion: v1\nkind: Pod\nmetadata: {name: a, uid: fixed}\nspec: {containers: [{name: c, image: %q}]}\n"
	write(t, path, fmt.Sprintf(text, "i:1"))
	s.Scan()
	write(t, path, fmt.Sprintf(text, "i:2"))
	s.Scan()
	if len(got) != 2 || got[1].Pod.Spec.Containers[0].Image != "i:2" || got[0].Pod.UID != got[1].Pod.UID {
		t.Fatalf("got %d updates", len(got))
	}
	if seen := "kubernetes.io/config.seen"; got[0].Pod.Annotations[seen] != got[1].Pod.Annotations[seen] {
		t.Error("the pod was seen anew")
	}
}

// The kernel's report leads to a scan long before the next rescan would.
func TestRunNotices(t *testing.T) {
	dir := t.TempDir()
	told := make(chan any, 16)
	s := New(Deps{Pods: messages.SinkFunc(func(m any) { told <- m }), Logger: klog.Background()}, Config{Path: dir, NodeName: "n", Rescan: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	next := func() any {
		t.Helper()
		select {
		case m := <-told:
			return m
		case <-ctx.Done():
			t.Fatal("nothing was told")
			return nil
		}
	}
	if _, ok := next().(podsmsg.SourceSynced); !ok {
		t.Fatal("not synced first")
	}
	path := filepath.Join(dir, "a.yaml")
	if err := os.WriteFile(path, []byte(manifestText("a", "i")), 0o600); err != nil {
		t.Fatal(err)
	}
	assigned, ok := next().(podsmsg.Assigned)
	if !ok || assigned.Source != "file" || assigned.Pod.Name != "a-n" {
		t.Fatalf("told %v", assigned)
	}
	os.Remove(path)
	if removed, ok := next().(podsmsg.Removed); !ok || removed.UID != assigned.Pod.UID {
		t.Fatalf("told %v", removed)
	}
	cancel()
	<-done
}
