package root

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"

	"github.com/troupe-dev/troupe/cmd/troupe/kubeletconfig"
	"github.com/troupe-dev/troupe/cri/proxy"
	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/cri/sim"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// world is a node for fault tests: a simulated runtime, a store that stands for the API server's objects, and whole agents
// that come and go over them. It records every CRI call and every change of a status, and checks both at the end.
type world struct {
	t       *testing.T
	sim     *sim.Runtime
	srv     *sim.Server
	real    *realRuntime // instead of sim, srv and groups
	groups  *groups
	words   lockedBuffer // the agents' log
	dir     string
	log     lockedBuffer
	rec     *proxy.Recorder
	agent   *life
	tap     func(*v1.Event)
	wrap    func(*spawn.Cell, spawn.Receiver) spawn.Receiver
	latency sim.Latency
	// configure changes the agents' configuration (nil: not).
	configure func(*kubeletconfigv1beta1.KubeletConfiguration)

	mu    sync.Mutex
	store map[model.UID]*v1.Pod // with the newest status that was written
	asked map[model.UID]*int64  // deletions that were asked for, with their grace
	facts map[model.UID]*fact
}

// fact is what was seen of one pod through its statuses.
type fact struct {
	name      string
	readyAt   []time.Time // Ready became true
	unreadyAt []time.Time // Ready became false after it was true
	goneAt    time.Time
	restarts  map[string]int32
	faults    []string
}

// life is one agent.
type life struct {
	*Agent
	client *remote.Client
	proxy  *proxy.Proxy
	dead   atomic.Bool
	end    context.CancelFunc
}

// inWorld runs a test in virtual time. At its end the agent is stopped and the records are checked.
func inWorld(t *testing.T, latency sim.Latency, test func(w *world), options ...func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dir, err := os.MkdirTemp("", "troupe-root")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		w := &world{
			t: t, dir: dir, groups: newGroups(), latency: latency,
			store: map[model.UID]*v1.Pod{}, asked: map[model.UID]*int64{}, facts: map[model.UID]*fact{},
		}
		w.sim = sim.New(sim.Config{Seed: 1, Latency: latency, AnyImage: true})
		w.srv = w.sim.ServePipe()
		w.rec = proxy.NewRecorder(&w.log)
		defer func() {
			if t.Failed() {
				t.Logf("the agent's log:\n%s", w.words.bytes())
			}
			if w.agent != nil {
				w.kill()
			}
			w.srv.Stop()
			time.Sleep(time.Minute) // the actor library's last goroutines
		}()
		for _, o := range options {
			o(w)
		}
		w.start()
		test(w)
		w.check()
	})
}

// logger keeps the agents' log until a test fails.
func (w *world) logger() klog.Logger {
	return funcr.New(func(_, args string) { fmt.Fprintln(&w.words, time.Now().Format("04:05.000"), args) }, funcr.Options{})
}

// start begins an agent, as after a boot or a kill: it is given the objects as the store has them.
func (w *world) start() {
	w.t.Helper()
	l := &life{}
	var err error
	l.client = w.dial()
	l.proxy = proxy.New(w.rec)
	wrapped := l.proxy.Wrap(l.client, l.client)
	k := kubeletconfig.NewDefault()
	k.CgroupRoot, k.PodLogsDir = "/", w.dir+"/logs"
	k.MaxPods = 1000
	if w.configure != nil {
		w.configure(k)
	}
	d := Deps{Runtime: wrapped, Images: wrapped, Logger: w.logger(), Applier: w.groups, Tap: w.tap, Wrap: w.wrap}
	if w.real != nil {
		k.CgroupRoot, d.Applier = w.real.group, nil
	}
	d.Changed = func(pod *v1.Pod, gone bool) {
		if !l.dead.Load() {
			w.changed(pod, gone)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.end = cancel
	l.Agent, err = Start(ctx, d, Config{
		NodeName: "192.0.2.1", Kubelet: k, Version: "v1.36.3", Major: "1.36", RootDir: w.dir, Embedded: true,
		WaitRuntime: time.Second,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.agent = l
	w.mu.Lock()
	pods := slices.Collect(maps.Values(w.store))
	w.mu.Unlock()
	for _, p := range pods {
		if _, err := l.Source.Add(p); err != nil {
			w.t.Fatal(err)
		}
		w.mu.Lock()
		grace, asked := w.asked[p.UID]
		w.mu.Unlock()
		if asked {
			l.Source.Delete(p.UID, grace)
		}
	}
	l.Source.Synced()
}

// dial makes a connection to the runtime, past the record.
func (w *world) dial() *remote.Client {
	w.t.Helper()
	endpoint, options := "pipe", remote.Options{}
	if w.real != nil {
		endpoint = w.real.endpoint()
	} else {
		options.Dialer = w.srv.Dial
	}
	c, err := remote.Dial(context.Background(), endpoint, options)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// kill ends the agent as kill -9 would: from this moment nothing of it reaches the runtime or the store.
func (w *world) kill() {
	w.t.Helper()
	l := w.agent
	w.agent = nil
	l.dead.Store(true)
	_ = l.client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if err := l.Stop(ctx); err != nil {
		w.t.Errorf("stop of the agent: %v", err)
	}
	l.end()
}

func (w *world) restart() {
	w.kill()
	w.start()
}

// newPod makes a pod of one container; change may be nil.
func newPod(name string, change func(*v1.Pod)) *v1.Pod {
	grace := int64(5)
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: model.UID("uid-" + name), Annotations: map[string]string{}},
		Spec: v1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			Containers:                    []v1.Container{{Name: "app", Image: "example.com/app:1", Command: []string{"sim"}}},
		},
	}
	if change != nil {
		change(p)
	}
	return p
}

// program gives every container of the pod a way to run (see cri/sim).
func program(words string) func(*v1.Pod) {
	return func(p *v1.Pod) { p.Annotations[sim.AnnotationPrefix+"all"] = words }
}

func (w *world) add(p *v1.Pod) model.UID {
	w.t.Helper()
	// The object is in the store before the agent hears of it.
	w.mu.Lock()
	w.store[p.UID] = p
	w.facts[p.UID] = &fact{name: p.Name, restarts: map[string]int32{}}
	w.mu.Unlock()
	got, err := w.agent.Source.Add(p)
	if err != nil {
		w.t.Fatal(err)
	}
	return got.UID
}

// change alters a pod's spec or metadata.
func (w *world) change(uid model.UID, how func(*v1.Pod)) {
	w.t.Helper()
	w.mu.Lock()
	p := w.store[uid].DeepCopy()
	how(p)
	w.store[uid] = p
	w.mu.Unlock()
	if _, err := w.agent.Source.Add(p); err != nil {
		w.t.Fatal(err)
	}
}

// fill adds n pods and waits until all are Ready.
func (w *world) fill(n int, prefix string, change func(*v1.Pod)) []model.UID {
	w.t.Helper()
	uids := w.addAll(n, prefix, change)
	w.until(time.Minute, "all pods are Ready", func() bool { return w.allReady(uids) })
	return uids
}

func (w *world) addAll(n int, prefix string, change func(*v1.Pod)) []model.UID {
	w.t.Helper()
	var uids []model.UID
	for i := range n {
		uids = append(uids, w.add(newPod(fmt.Sprintf("%s%d", prefix, i), change)))
	}
	return uids
}

func (w *world) remove(uid model.UID, grace *int64) {
	w.mu.Lock()
	w.asked[uid] = grace
	w.mu.Unlock()
	w.agent.Source.Delete(uid, grace)
}

// changed takes what the agent wrote.
func (w *world) changed(p *v1.Pod, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.facts[p.UID]
	now := time.Now()
	if gone {
		f.goneAt = now
		delete(w.store, p.UID)
		delete(w.asked, p.UID)
		return
	}
	old := w.store[p.UID]
	if old == nil {
		f.faults = append(f.faults, "a status was written after the object was gone")
		return
	}
	before, after := isReady(old), isReady(p)
	if after && !before {
		f.readyAt = append(f.readyAt, now)
	}
	if before && !after {
		debugFlip(w, old, p)
		f.unreadyAt = append(f.unreadyAt, now)
	}
	was, is := old.Status.Phase, p.Status.Phase
	if was == v1.PodRunning && is == v1.PodPending || (was == v1.PodSucceeded || was == v1.PodFailed) && is != was {
		f.faults = append(f.faults, fmt.Sprintf("phase %s became %s", was, is))
	}
	for _, c := range p.Status.ContainerStatuses {
		if n := f.restarts[c.Name]; c.RestartCount < n {
			f.faults = append(f.faults, fmt.Sprintf("restart count of %s fell from %d to %d", c.Name, n, c.RestartCount))
		}
		f.restarts[c.Name] = c.RestartCount
	}
	for _, c := range p.Status.ContainerStatuses {
		for _, o := range old.Status.ContainerStatuses {
			if c.Name == o.Name && c.ContainerID == o.ContainerID && c.State.Running != nil && o.State.Running != nil && !c.State.Running.StartedAt.Equal(&o.State.Running.StartedAt) {
				f.faults = append(f.faults, fmt.Sprintf("%s began at %s, and then at %s", c.Name, o.State.Running.StartedAt, c.State.Running.StartedAt))
			}
		}
	}
	next := *old
	next.Status = *p.Status.DeepCopy()
	w.store[p.UID] = &next
}

func isReady(p *v1.Pod) bool { return condition(p, v1.PodReady) }

func condition(p *v1.Pod, kind v1.PodConditionType) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

// get is a pod as the store has it; nil when it is gone.
func (w *world) get(uid model.UID) *v1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.store[uid]
}

func (w *world) fact(uid model.UID) fact {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := *w.facts[uid]
	f.restarts = maps.Clone(f.restarts)
	return f
}

func (w *world) ready(uid model.UID) bool {
	p := w.get(uid)
	return p != nil && isReady(p)
}

func (w *world) allReady(uids []model.UID) bool {
	for _, u := range uids {
		if !w.ready(u) {
			return false
		}
	}
	return true
}

func (w *world) allGone(uids []model.UID) bool {
	for _, u := range uids {
		if w.get(u) != nil {
			return false
		}
	}
	return true
}

// until waits: in virtual time, but for a real runtime.
func (w *world) until(d time.Duration, what string, done func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	for {
		if w.real == nil {
			synctest.Wait()
		}
		if done() {
			return time.Since(began)
		}
		if time.Since(began) >= d {
			w.describe()
			w.t.Fatalf("after %s it is not so that %s", d, what)
		}
		time.Sleep(min(time.Second, max(5*time.Millisecond, time.Since(began)/100)))
	}
}

// describe logs what the pods that are not Ready say of themselves.
func (w *world) describe() {
	w.mu.Lock()
	defer w.mu.Unlock()
	shown := 0
	if w.agent != nil {
		for _, p := range w.agent.Table.List() {
			if w.store[p.UID] == nil && shown < 5 {
				shown++
				n, ok := w.agent.System.Registry().Find("/pods/" + string(p.UID))
				w.t.Logf("%s is known to the agent alone; its actor: %t %+v", p.Name, ok, n)
			}
		}
	}
	for uid, p := range w.store {
		if _, asked := w.asked[uid]; isReady(p) && !asked || shown == 5 || w.agent == nil {
			continue
		}
		shown++
		if e, ok := w.agent.explain(uid); ok {
			w.t.Logf("%s: stage %s phase %s lastError %q inFlight %v blockers %v", p.Name, e.Stage, e.Phase, e.LastError, e.InFlight, e.Blockers)
			for _, c := range e.Containers {
				w.t.Logf("   %s: %s reason %s blocker %s retryAt %s lastError %q inFlight %v restarts %d", c.Name, c.Stage, c.Reason, c.Blocker, c.RetryAt, c.LastError, c.InFlight, c.Restarts)
			}
			for _, s := range e.Timeline {
				w.t.Logf("      %s %s %s", s.At.Format("05.000"), s.What, s.Err)
			}
		} else {
			w.t.Logf("%s has no actor", p.Name)
		}
	}
}

func (l *life) explain(uid model.UID) (model.PodExplain, bool) {
	n, ok := l.System.Registry().Find("/pods/" + string(uid))
	if !ok {
		return model.PodExplain{}, false
	}
	e, ok := n.Detail.(model.PodExplain)
	return e, ok
}

// check holds the records against the invariants.
func (w *world) check() {
	w.t.Helper()
	found, err := proxy.Check(bytes.NewReader(w.log.bytes()))
	if err != nil {
		w.t.Error(err)
	}
	for i, v := range found {
		if i == 5 {
			w.t.Errorf("… and %d more", len(found)-i)
			break
		}
		w.t.Errorf("%v\nbefore it:\n%s", v, w.before(v))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.facts {
		for _, s := range f.faults {
			w.t.Errorf("pod %s: %s", f.name, s)
		}
	}
}

// before are the records of a violation's pod that led to it.
func (w *world) before(v proxy.Violation) string {
	var last []string
	for i, line := range bytes.Split(w.log.bytes(), []byte{'\n'}) {
		if i < v.Line && bytes.Contains(line, []byte(v.Record.UID)) {
			last = append(last, string(line))
		}
	}
	return strings.Join(last[max(0, len(last)-20):], "\n")
}

// steady says that no pod lost its readiness and no container was started again since a moment.
func (w *world) steady(uids []model.UID, since time.Time) {
	w.t.Helper()
	for _, u := range uids {
		f := w.fact(u)
		for _, at := range f.unreadyAt {
			if at.After(since) {
				w.t.Errorf("pod %s: Ready flipped", f.name)
			}
		}
		for c, n := range f.restarts {
			if n != 0 {
				w.t.Errorf("pod %s: container %s was restarted %d times", f.name, c, n)
			}
		}
	}
}

// nothingLeft says that the runtime, the cgroups and the disk have nothing of any pod.
func (w *world) nothingLeft() {
	w.t.Helper()
	w.until(time.Minute, "nothing is left in the runtime", func() bool {
		b, c := w.sim.Count()
		return b == 0 && c == 0
	})
	w.until(time.Minute, "no pod cgroup is left", func() bool { return w.groups.pods() == 0 })
	for _, d := range []string{"pods", "logs"} {
		left, _ := os.ReadDir(w.dir + "/" + d)
		if len(left) > 0 {
			w.t.Errorf("left in %s: %v", d, left)
		}
	}
}

// starts counts the StartContainer calls that the runtime has had.
func (w *world) starts() int64 { return w.calls("StartContainer") }

func (w *world) calls(op string) int64 { return int64(w.sim.Stats()[op].Calls) }

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.b.Bytes())
}

// seeds is how many random runs a test makes; TROUPE_TEST_SEEDS asks for more.
func seeds(n uint64) uint64 {
	if more, err := strconv.ParseUint(os.Getenv("TROUPE_TEST_SEEDS"), 10, 64); err == nil {
		return more
	}
	return n
}

func TestMain(m *testing.M) {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// debugFlip logs the newest statuses around a flip; for a person who looks into a failure.
func debugFlip(w *world, old, p *v1.Pod) {
	fmt.Fprintf(&w.words, "%s flip of %s\n", time.Now().Format("04:05.000"), p.Name)
	for _, q := range []*v1.Pod{old, p} {
		for _, c := range q.Status.Conditions {
			fmt.Fprintf(&w.words, "   %s=%s %s %s;", c.Type, c.Status, c.Reason, c.Message)
		}
		for _, c := range q.Status.ContainerStatuses {
			fmt.Fprintf(&w.words, "  %s ready=%v started=%v %+v\n", c.Name, c.Ready, c.Started != nil && *c.Started, c.State)
		}
	}
}
