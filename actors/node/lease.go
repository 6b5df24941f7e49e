package node

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// lease is the node's lease as it was written last; nil when it has to be read first.
type lease struct {
	object   *coordinationv1.Lease
	inFlight bool
	failures int
	retry    func() // cancels the timer of the next attempt
}

// Messages of the shell to itself.
type (
	leased struct {
		object *coordinationv1.Lease
		err    error
	}
	renew struct{}
)

// renew writes the lease's time. It is called by the tick, and sooner after a failure.
func (s *shell) renew(c *spawn.Cell) {
	l := &s.lease
	if l.inFlight || !s.registered || s.object == nil {
		return
	}
	if l.retry != nil {
		l.retry()
		l.retry = nil
	}
	l.inFlight = true
	self, client, node, have, duration := c.Self(), s.deps.Client, s.object, l.object, s.config.LeaseDuration
	s.deps.Runner.Do(c.Context(), runner.Job{Lane: heartbeat, Op: "renew lease", Owner: s.config.NodeName, Timeout: callTimeout,
		Fn: func(ctx context.Context) error {
			object, err := renewLease(ctx, client, node, have, duration)
			self.Tell(leased{object, err})
			return err
		},
		OnPanic: func(v any) { self.Tell(leased{nil, fmt.Errorf("call panicked: %v", v)}) },
	})
}

func renewLease(ctx context.Context, client kubernetes.Interface, node *v1.Node, have *coordinationv1.Lease, duration time.Duration) (*coordinationv1.Lease, error) {
	leases := client.CoordinationV1().Leases(v1.NamespaceNodeLease)
	now := metav1.NowMicro()
	fill := func(l *coordinationv1.Lease) *coordinationv1.Lease {
		l = l.DeepCopy()
		l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = &node.Name, ptr.To(int32(duration/time.Second)), &now
		if len(l.OwnerReferences) == 0 {
			l.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}}
		}
		return l
	}
	if have == nil {
		got, err := leases.Get(ctx, node.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			made, err := leases.Create(ctx, fill(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: node.Name, Namespace: v1.NamespaceNodeLease}}), metav1.CreateOptions{})
			if err != nil {
				return nil, fmt.Errorf("create lease %s: %w", node.Name, err)
			}
			return made, nil
		}
		if err != nil {
			return nil, fmt.Errorf("get lease %s: %w", node.Name, err)
		}
		have = got
	}
	written, err := leases.Update(ctx, fill(have), metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("renew lease %s: %w", node.Name, err)
	}
	return written, nil
}

func (s *shell) leaseDone(c *spawn.Cell, m leased) {
	l := &s.lease
	l.inFlight, l.object = false, m.object
	if m.err == nil {
		l.failures = 0
		return
	}
	wait := min(2*registerFirst<<min(l.failures, 10), registerMost)
	l.failures++
	s.deps.Logger.Error(m.err, "Failed to renew node lease, will retry", "node", klog.KRef("", s.config.NodeName), "retryAfter", wait)
	l.retry = c.After(wait, renew{})
}
