// Package floor measures what no agent can be faster than: the same CRI calls without an agent (Bare), and an agent that
// only waits for as long as the runtime would and writes each pod's status once (Agent).
package floor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Agent is an agent without a runtime.
type Agent struct {
	Client kubernetes.Interface
	Node   string
	// Start is how long a runtime needs to bring a pod up, Stop to bring it down.
	Start, Stop time.Duration
	// Log is told what went wrong.
	Log func(error)

	mu   sync.Mutex
	pods map[types.UID]*state
}

type state struct{ starting, ending bool }

// Run watches the node's pods and serves them until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	a.pods = map[types.UID]*state{}
	lw := cache.NewListWatchFromClient(a.Client.CoreV1().RESTClient(), "pods", v1.NamespaceAll, fields.OneTermEqualSelector("spec.nodeName", a.Node))
	_, c := cache.NewInformerWithOptions(cache.InformerOptions{ListerWatcher: lw, ObjectType: &v1.Pod{}, Handler: cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { a.see(ctx, o.(*v1.Pod)) },
		UpdateFunc: func(_, o any) { a.see(ctx, o.(*v1.Pod)) },
		DeleteFunc: func(o any) {
			if tomb, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = tomb.Obj
			}
			a.mu.Lock()
			delete(a.pods, o.(*v1.Pod).UID)
			a.mu.Unlock()
		},
	}})
	go a.live(ctx)
	c.Run(ctx.Done())
	return nil
}

// leaseEvery is how often the node's lease is renewed (the kubelet's default: a quarter of 40 s). Without it the node
// controller would make every pod not Ready in the middle of a longer measurement, and the floor would be no floor.
const leaseEvery = 10 * time.Second

// live keeps the node alive until ctx ends.
func (a *Agent) live(ctx context.Context) {
	t := time.NewTicker(leaseEvery)
	defer t.Stop()
	for {
		a.check(ctx, a.renew(ctx))
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func (a *Agent) renew(ctx context.Context) error {
	leases := a.Client.CoordinationV1().Leases(v1.NamespaceNodeLease)
	now, seconds := metav1.NowMicro(), int32(4*leaseEvery/time.Second)
	lease, err := leases.Get(ctx, a.Node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: a.Node, Namespace: v1.NamespaceNodeLease},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &a.Node, LeaseDurationSeconds: &seconds, RenewTime: &now},
		}, metav1.CreateOptions{})
	} else if err == nil {
		lease.Spec.RenewTime = &now
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("renew the lease of node %s: %w", a.Node, err)
	}
	return nil
}

func (a *Agent) see(ctx context.Context, p *v1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.pods[p.UID]
	if s == nil {
		s = &state{}
		a.pods[p.UID] = s
	}
	switch {
	case p.DeletionTimestamp != nil && !s.ending:
		s.ending = true
		time.AfterFunc(a.Stop, func() { a.check(ctx, a.end(ctx, p)) })
	case p.DeletionTimestamp == nil && !s.starting:
		s.starting = true
		time.AfterFunc(a.Start, func() { a.check(ctx, a.ready(ctx, p)) })
	}
}

func (a *Agent) check(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) && !errors.Is(err, context.Canceled) {
		a.Log(err)
	}
}

// ready writes the one status of the pod's life.
func (a *Agent) ready(ctx context.Context, p *v1.Pod) error {
	raw, err := json.Marshal(map[string]any{"status": readyStatus(p, metav1.Now())})
	if err != nil {
		return err
	}
	if _, err := a.Client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, raw, metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("write the status of pod %s: %w", p.Name, err)
	}
	return nil
}

// end takes the pod's object away.
func (a *Agent) end(ctx context.Context, p *v1.Pod) error {
	now := int64(0)
	err := a.Client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &p.UID}})
	if err != nil {
		return fmt.Errorf("delete pod %s: %w", p.Name, err)
	}
	return nil
}

// readyStatus is a status of the size that a real agent's has.
func readyStatus(p *v1.Pod, now metav1.Time) v1.PodStatus {
	yes := true
	st := v1.PodStatus{
		ObservedGeneration: p.Generation, Phase: v1.PodRunning, HostIP: "192.0.2.1", HostIPs: []v1.HostIP{{IP: "192.0.2.1"}},
		PodIP: "198.51.100.1", PodIPs: []v1.PodIP{{IP: "198.51.100.1"}}, StartTime: &now,
	}
	for _, t := range []v1.PodConditionType{v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled} {
		st.Conditions = append(st.Conditions, v1.PodCondition{Type: t, Status: v1.ConditionTrue, LastTransitionTime: now, ObservedGeneration: p.Generation})
	}
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		st.ContainerStatuses = append(st.ContainerStatuses, v1.ContainerStatus{
			Name: c.Name, Image: c.Image, ImageID: c.Image + "@sha256:" + id, ContainerID: "floor://" + id, Ready: true, Started: &yes,
			State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: now}},
		})
	}
	return st
}

const id = "0000000000000000000000000000000000000000000000000000000000000000"
