package status

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/troupe-dev/troupe/actors/status/statusplan"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// letter is the body of a patch that waits for its turn. Whoever takes it out has it: the call when it begins, or nobody
// after that.
type letter struct{ body atomic.Pointer[[]byte] }

func newLetter(body []byte) *letter {
	l := &letter{}
	l.body.Store(&body)
	return l
}

// replace puts another body in, unless the call has begun.
func (l *letter) replace(body []byte) {
	if old := l.body.Load(); old != nil {
		l.body.CompareAndSwap(old, &body)
	}
}

func (l *letter) take() []byte { return *l.body.Swap(nil) }

// run makes a call in the API lane; its end comes back as done.
func (s *shell) run(c *spawn.Cell, uid model.UID, start statusplan.Start, body *letter) {
	self := c.Self()
	end := func(pod *v1.Pod, err error) {
		outcome, after := sort(start.Op, err)
		self.Tell(done{uid: uid, err: err, reached: reached(err), event: statusplan.Done{Op: start.Op, Outcome: outcome, Pod: pod, After: after}})
	}
	client := s.deps.Client.CoreV1().Pods(start.Pod.Namespace)
	s.deps.Runner.Do(c.Context(), runner.Job{
		Lane: runner.API, Op: start.Op.String() + " pod", Owner: start.Pod.Namespace + "/" + start.Pod.Name, Timeout: s.config.CallTimeout,
		Fn: func(ctx context.Context) error {
			var pod *v1.Pod
			var err error
			switch start.Op {
			case statusplan.Patching:
				pod, err = client.Patch(ctx, start.Pod.Name, types.StrategicMergePatchType, body.take(), metav1.PatchOptions{}, "status")
			case statusplan.Reading:
				pod, err = client.Get(ctx, start.Pod.Name, metav1.GetOptions{})
			case statusplan.Removing:
				err = client.Delete(ctx, start.Pod.Name, *finalDelete(start.Pod.UID))
			case statusplan.None:
			}
			if err != nil {
				end(nil, err)
				return err
			}
			if pod != nil {
				if pod.UID != start.Pod.UID {
					end(nil, errReplaced)
					return nil
				}
				pod.ManagedFields = nil
			}
			end(pod, nil)
			return nil
		},
		OnPanic: func(v any) { end(nil, fmt.Errorf("call panicked: %v", v)) },
	})
}

// errReplaced: another pod has the name now.
var errReplaced = errors.New("another pod has this name")

// finalDelete removes the object itself: nothing of the pod is left on the node.
func finalDelete(uid types.UID) *metav1.DeleteOptions {
	now := int64(0)
	return &metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(uid))}
}

// sort says what may be concluded from the end of a call, and how long the server asks to wait.
func sort(op statusplan.Op, err error) (statusplan.Outcome, time.Duration) {
	switch {
	case err == nil:
		return statusplan.OK, 0
	case apierrors.IsNotFound(err), errors.Is(err, errReplaced):
		return statusplan.Missing, 0
	case op != statusplan.Reading && (apierrors.IsConflict(err) || apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)):
		return statusplan.Disputed, 0
	}
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
		return statusplan.Failed, time.Duration(seconds) * time.Second
	}
	return statusplan.Failed, 0
}

// reached says that a server answered, be it with an error.
func reached(err error) bool {
	if err == nil || errors.Is(err, errReplaced) {
		return true
	}
	var status apierrors.APIStatus
	return errors.As(err, &status)
}
