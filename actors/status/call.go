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
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/troupe-dev/troupe/actors/status/statusplan"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// letter is what a patch that waits for its turn will carry. Whoever takes it out has it: the call when it begins, or
// nobody after that.
type letter struct{ content atomic.Pointer[content] }

// content is a patch, or what to make it from.
type content struct {
	body []byte
	pod  *v1.Pod
	to   *v1.PodStatus
	// ahead: a call that goes before others waits for it too.
	ahead bool
}

func newLetter(start statusplan.Start) *letter {
	l := &letter{}
	l.content.Store(&content{body: start.Body, ahead: start.Ahead})
	return l
}

// replace puts something else in, unless the call has begun. It reports whether the letter has to go ahead from now on.
func (l *letter) replace(r statusplan.Replace) (hurry bool) {
	old := l.content.Load()
	if old == nil {
		return false
	}
	next := &content{pod: r.Pod, to: r.Status, ahead: old.ahead || r.Ahead}
	return l.content.CompareAndSwap(old, next) && next.ahead && !old.ahead
}

// take takes the patch out; taken is false when somebody has it already. A nil body changes nothing.
func (l *letter) take() (body []byte, taken bool, err error) {
	c := l.content.Swap(nil)
	if c == nil {
		return nil, false, nil
	}
	if c.pod != nil {
		c.body, err = statusplan.Patch(c.pod.UID, &c.pod.Status, c.to)
	}
	return c.body, true, err
}

// run makes a call; its end comes back as done. A patch may be run twice, the second time because somebody waits for it:
// whichever has its turn first takes the letter and makes the call.
func (s *shell) run(c *spawn.Cell, uid model.UID, start statusplan.Start, l *letter) {
	self := c.Self()
	end := func(pod *v1.Pod, err error) {
		outcome, after := sort(start.Op, err)
		self.Tell(done{uid: uid, err: err, reached: reached(err), event: statusplan.Done{Op: start.Op, Outcome: outcome, Pod: pod, After: after}})
	}
	client := s.deps.Client.CoreV1().Pods(start.Pod.Namespace)
	lane := runner.API
	if start.Op == statusplan.Patching && !start.Ahead {
		lane = runner.News
	}
	s.deps.Runner.Do(c.Context(), runner.Job{
		Lane: lane, Op: start.Op.String() + " pod", Ahead: start.Ahead, Owner: start.Pod.Namespace + "/" + start.Pod.Name, Timeout: s.config.CallTimeout,
		Fn: func(ctx context.Context) error {
			body, mine, err := l.take()
			if !mine {
				return runner.ErrNoCall
			}
			if err != nil || body == nil && start.Op == statusplan.Patching {
				end(nil, nil) // the plan finds the fault, or that all is as it should be, by itself
				return runner.ErrNoCall
			}
			pod, err := call(ctx, client, start, body)
			end(pod, err)
			return err
		},
		OnPanic: func(v any) { end(nil, fmt.Errorf("call panicked: %v", v)) },
	})
}

// call makes the one call of an action and returns the object as the server has it afterwards.
func call(ctx context.Context, client corev1.PodInterface, start statusplan.Start, body []byte) (pod *v1.Pod, err error) {
	switch start.Op {
	case statusplan.Patching:
		pod, err = client.Patch(ctx, start.Pod.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
	case statusplan.Reading:
		pod, err = client.Get(ctx, start.Pod.Name, metav1.GetOptions{})
	case statusplan.Removing:
		return nil, client.Delete(ctx, start.Pod.Name, *finalDelete(start.Pod.UID))
	case statusplan.None:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if pod.UID != start.Pod.UID {
		return nil, errReplaced
	}
	pod.ManagedFields, pod.Spec = nil, v1.PodSpec{} // kept until the next answer, for its status and its version alone
	return pod, nil
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
