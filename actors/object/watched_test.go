package object

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"github.com/troupe-dev/troupe/messages/model"
)

func podUsing(uid string, configMaps ...string) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: uid, Namespace: "ns", UID: model.UID(uid)}}
	for _, n := range configMaps {
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: n}}}})
	}
	return p
}

func cm(name, value string, version int) *v1.ConfigMap {
	return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", ResourceVersion: fmt.Sprint(version)}, Data: map[string]string{"k": value}}
}

// server is a fake API server that counts and can refuse.
type server struct {
	*fake.Clientset
	lists, watches, gets atomic.Int64
	refuse               atomic.Bool

	mu        sync.Mutex
	selectors map[string]int
}

func newServer(objs ...runtime.Object) *server {
	s := &server{Clientset: fake.NewClientset(objs...), selectors: map[string]int{}}
	s.PrependReactor("*", "*", func(a ktesting.Action) (bool, runtime.Object, error) {
		switch a := a.(type) {
		case ktesting.ListAction:
			s.lists.Add(1)
			s.mu.Lock()
			s.selectors[a.GetListRestrictions().Fields.String()]++
			s.mu.Unlock()
			if s.refuse.Load() {
				return true, nil, errors.New("refused")
			}
		case ktesting.GetAction:
			s.gets.Add(1)
		}
		return false, nil, nil
	})
	s.PrependWatchReactor("*", func(a ktesting.Action) (bool, watch.Interface, error) {
		s.watches.Add(1)
		return false, nil, nil
	})
	return s
}

func (s *server) update(t *testing.T, o *v1.ConfigMap) {
	t.Helper()
	if _, err := s.CoreV1().ConfigMaps("ns").Update(context.Background(), o, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func (s *server) create(t *testing.T, o *v1.ConfigMap) {
	t.Helper()
	if _, err := s.CoreV1().ConfigMaps("ns").Create(context.Background(), o, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// log collects notifications.
type log struct {
	mu   sync.Mutex
	keys []Key
}

func (l *log) add(k Key) { l.mu.Lock(); l.keys = append(l.keys, k); l.mu.Unlock() }

func (l *log) take() int {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.keys)
	l.keys = nil
	return n
}

func get(t *testing.T, w *Watched, name string) string {
	t.Helper()
	o, err := w.ConfigMap(context.Background(), "ns", name)
	if err != nil {
		t.Fatal(err)
	}
	return o.Data["k"]
}

func TestOneWatchForAllPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(cm("ca", "one", 1), cm("other", "x", 1))
		w := NewWatched(s, klog.Background())
		var l log
		defer w.Subscribe(l.add)()
		for i := range 300 {
			w.Track(podUsing(fmt.Sprint(i), "ca"))
			w.Track(podUsing(fmt.Sprint(i), "ca")) // the same again
		}
		if get(t, w, "ca") != "one" || w.Watches() != 1 {
			t.Errorf("%d watches", w.Watches())
		}
		synctest.Wait()
		if s.lists.Load() != 1 || s.watches.Load() != 1 || s.selectors["metadata.name=ca"] != 1 {
			t.Errorf("%d lists, %d watches, selectors %v", s.lists.Load(), s.watches.Load(), s.selectors)
		}
		if l.take() != 0 {
			t.Error("nobody had an older answer, so nobody needs to hear of the first list")
		}
		s.update(t, cm("ca", "two", 2))
		if l.take() != 1 || get(t, w, "ca") != "two" {
			t.Errorf("read %s", get(t, w, "ca"))
		}
		before := s.lists.Load() + s.watches.Load()
		time.Sleep(time.Hour)
		if s.lists.Load()+s.watches.Load() != before || s.gets.Load() != 0 {
			t.Error("an idle hour cost requests")
		}
		for i := range 299 {
			w.Release(model.UID(fmt.Sprint(i)))
		}
		if w.Watches() != 1 {
			t.Error("the last pod still needs it")
		}
		w.Track(podUsing("299", "other")) // an update that no longer refers to it
		get(t, w, "other")
		if w.Watches() != 1 {
			t.Error("nobody needs ca any more")
		}
		w.Release("299")
		w.Release("299")
		synctest.Wait()
		if w.Watches() != 0 {
			t.Error("watches left")
		}
	})
}

func TestMissingThenThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		w := NewWatched(s, klog.Background())
		defer w.Close()
		var l log
		w.Subscribe(l.add)
		w.Track(podUsing("u", "y"))
		start := time.Now()
		_, err := w.ConfigMap(context.Background(), "ns", "y")
		if !apierrors.IsNotFound(err) || err.Error() != `configmap "y" not found` || !time.Now().Equal(start) {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		synctest.Wait()
		s.create(t, cm("y", "here", 5))
		if l.take() != 1 || get(t, w, "y") != "here" {
			t.Error("not told")
		}
		if err := s.CoreV1().ConfigMaps("ns").Delete(context.Background(), "y", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if l.take() != 1 {
			t.Error("not told that it is gone")
		}
		if _, err := w.ConfigMap(context.Background(), "ns", "y"); !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
}

func TestWatchThatDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(cm("a", "one", 1))
		s.refuse.Store(true)
		w := NewWatched(s, klog.Background())
		defer w.Close()
		var l log
		w.Subscribe(l.add)
		w.Track(podUsing("u", "a"))
		start := time.Now()
		if get(t, w, "a") != "one" || time.Since(start) != FirstSync || s.gets.Load() != 1 {
			t.Errorf("after %v, %d gets", time.Since(start), s.gets.Load())
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if _, err := w.ConfigMap(ctx, "ns", "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		s.refuse.Store(false)
		time.Sleep(time.Minute)
		if l.take() != 1 {
			t.Error("who had a live answer must hear of the watch's first one")
		}
		if get(t, w, "a"); s.gets.Load() != 1 {
			t.Error("the watch should answer now")
		}
	})
}

func TestImmutableEndsTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(cm("a", "one", 1))
		w := NewWatched(s, klog.Background())
		w.Track(podUsing("u", "a"))
		get(t, w, "a")
		synctest.Wait()
		fixed := cm("a", "two", 2)
		fixed.Immutable = ptr.To(true)
		s.update(t, fixed)
		s.update(t, cm("a", "three", 3))
		time.Sleep(time.Hour)
		if got := get(t, w, "a"); got != "two" {
			t.Errorf("read %s", got)
		}
		w.Release("u")
	}) // a watch that still ran would fail the bubble
}

func TestUntrackedIsAskedFor(t *testing.T) {
	s := newServer(cm("a", "one", 1))
	w := NewWatched(s, klog.Background())
	if get(t, w, "a") != "one" || s.gets.Load() != 1 || s.watches.Load() != 0 {
		t.Error("expected one live read")
	}
	if _, err := w.Secret(context.Background(), "ns", "no"); !apierrors.IsNotFound(err) || err.Error() != `secret "no" not found` {
		t.Error(err)
	}
}

func TestPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(cm("a", "one", 1))
		read := func(p *Polled) string {
			o, err := p.ConfigMap(context.Background(), "ns", "a")
			if err != nil {
				return err.Error()
			}
			return o.Data["k"]
		}
		p := NewPolled(s, func() time.Duration { return time.Minute })
		p.Track(podUsing("u", "a"))
		read(p)
		s.update(t, cm("a", "two", 2))
		if got := read(p); got != "one" || s.gets.Load() != 1 {
			t.Errorf("%s after %d gets", got, s.gets.Load())
		}
		p.Track(podUsing("u2", "a")) // a new pod gets a fresh copy
		if got := read(p); got != "two" {
			t.Error(got)
		}
		s.update(t, cm("a", "three", 3))
		time.Sleep(time.Minute)
		if got := read(p); got != "three" {
			t.Error(got)
		}
		p.Release("u")
		p.Release("u2")
		if len(p.items) != 0 {
			t.Errorf("left %v", p.items)
		}
		get := NewPolled(s, nil)
		get.Track(podUsing("u", "a"))
		n := s.gets.Load()
		read(get)
		read(get)
		if s.gets.Load() != n+2 {
			t.Error("the Get strategy keeps nothing")
		}
	})
}
