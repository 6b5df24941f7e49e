package node

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/node/nodestatus"
	"github.com/troupe-dev/troupe/messages/runtimemsg"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

const arch = runtime.GOARCH

// report is the writing of the node's status: one write in flight, and another when something changed meanwhile.
type report struct {
	inFlight, dirty bool
	failures        int
	retrying        bool
	lastAt          time.Time
	// spread delays the next unchanged report, so that nodes that changed together do not report together.
	spread time.Duration
}

// Messages of the shell to itself.
type (
	reported struct {
		node    *v1.Node
		changed bool
		err     error
	}
	again struct{}
)

// write brings the API server's object up to date when a reader would see a difference, or when it is time.
func (s *shell) write(c *spawn.Cell) {
	r := &s.report
	if s.deps.Client == nil || !s.registered || s.object == nil {
		return
	}
	if r.inFlight || r.retrying {
		r.dirty = true
		return
	}
	now := time.Now()
	old, next := s.object, s.object.DeepCopy()
	facts := s.facts
	facts.Now = now
	if s.config.ExternalCloudProvider && len(old.Status.Addresses) > 0 {
		facts.Addresses = nil // the cloud's come first
	}
	events := nodestatus.Apply(&next.Status, s.config.Status, facts)
	want := map[string]string{v1.LabelOSStable: "linux", v1.LabelArchStable: arch}
	for name, value := range want {
		if next.Labels[name] != value {
			if next.Labels == nil {
				next.Labels = map[string]string{}
			}
			next.Labels[name] = value
		}
	}
	changed := nodestatus.Changed(&old.Status, &next.Status) || !maps.Equal(old.Labels, next.Labels)
	if !changed && !r.lastAt.IsZero() && now.Sub(r.lastAt) < s.config.ReportFrequency+r.spread {
		return
	}
	if r.failures > 0 {
		events = nil // told with the first attempt
	}
	for _, reason := range events {
		s.event(reason)
	}
	if boot := old.Status.NodeInfo.BootID; r.failures == 0 && boot != "" && boot != next.Status.NodeInfo.BootID && s.deps.Recorder != nil {
		s.deps.Recorder.Eventf(s.deps.Ref, v1.EventTypeWarning, "Rebooted", "Node %s has been rebooted, boot id: %s", s.config.NodeName, next.Status.NodeInfo.BootID)
	}
	r.inFlight, r.dirty = true, false
	self, client, fresh := c.Self(), s.deps.Client, r.failures > 0
	s.deps.Runner.Do(c.Context(), runner.Job{Lane: heartbeat, Op: "patch node status", Owner: s.config.NodeName, Timeout: callTimeout,
		Fn: func(ctx context.Context) error {
			node, err := patchStatus(ctx, client, old, next)
			if err != nil && fresh {
				// The object that we know may be the reason: the next attempt starts from a fresh one.
				if got, getErr := client.CoreV1().Nodes().Get(ctx, next.Name, metav1.GetOptions{}); getErr == nil {
					node = got
				}
			}
			self.Tell(reported{node, changed, err})
			return err
		},
		OnPanic: func(v any) { self.Tell(reported{err: fmt.Errorf("call panicked: %v", v)}) },
	})
}

func (s *shell) event(reason string) {
	s.deps.Logger.V(2).Info("Recording event message for node", "node", klog.KRef("", s.config.NodeName), "event", reason)
	if s.deps.Recorder != nil {
		s.deps.Recorder.Eventf(s.deps.Ref, v1.EventTypeNormal, reason, "Node %s status is now: %s", s.config.NodeName, reason)
	}
}

func (s *shell) reportDone(c *spawn.Cell, m reported) {
	r := &s.report
	r.inFlight = false
	if m.node != nil {
		s.object = newest(s.object, m.node)
	}
	if m.err != nil {
		wait := min(registerFirst<<min(r.failures, 10), registerMost)
		r.failures++
		r.retrying = true
		s.deps.Logger.Error(m.err, "Error updating node status, will retry", "node", klog.KRef("", s.config.NodeName), "retryAfter", wait, "notFound", apierrors.IsNotFound(m.err))
		c.After(wait, again{})
		return
	}
	r.failures = 0
	r.spread = 0
	if m.changed || r.lastAt.IsZero() {
		r.spread = time.Duration((rand.Float64() - 0.5) * float64(s.config.ReportFrequency))
	}
	r.lastAt = time.Now()
	if r.dirty {
		s.write(c)
	}
}

// seen takes the API server's newest object.
func (s *shell) seen(c *spawn.Cell, node *v1.Node) {
	before := s.object
	s.object = newest(s.object, node)
	if s.object == before {
		return
	}
	if before != nil && before.Spec.Unschedulable != s.object.Spec.Unschedulable {
		reason := "NodeSchedulable"
		if s.object.Spec.Unschedulable {
			reason = "NodeNotSchedulable"
		}
		s.event(reason)
	}
	cidr := strings.Join(s.object.Spec.PodCIDRs, ",")
	if cidr == "" {
		cidr = s.object.Spec.PodCIDR
	}
	s.handCIDR(cidr)
	if before != nil && nodestatus.Changed(&before.Status, &s.object.Status) {
		s.write(c) // mends what others wrote over it
	}
}

func (s *shell) handCIDR(cidr string) {
	if cidr == "" || cidr == s.podCIDR {
		return
	}
	s.podCIDR = cidr
	s.deps.Runtime.Tell(runtimemsg.PodCIDR{CIDR: cidr})
}

// newest is the later state of one object; another UID is a node that was made anew.
func newest(a, b *v1.Node) *v1.Node {
	if a == nil || a.UID != b.UID {
		return b
	}
	x, errX := strconv.ParseUint(a.ResourceVersion, 10, 64)
	y, errY := strconv.ParseUint(b.ResourceVersion, 10, 64)
	if errX == nil && errY == nil && y <= x {
		return a
	}
	return b
}

// patchStatus writes the difference of status and metadata. Addresses are replaced as a whole: their documented merge
// key is not unique, so a merge would mix them up.
func patchStatus(ctx context.Context, client kubernetes.Interface, old, next *v1.Node) (*v1.Node, error) {
	replaceAddresses := len(old.Status.Addresses) > 0 && !equality.Semantic.DeepEqual(old.Status.Addresses, next.Status.Addresses)
	target := *next
	target.Spec = old.Spec
	if replaceAddresses {
		target.Status.Addresses = old.Status.Addresses
	}
	before, err := json.Marshal(old)
	if err != nil {
		return nil, fmt.Errorf("encode node %s: %w", old.Name, err)
	}
	after, err := json.Marshal(target)
	if err != nil {
		return nil, fmt.Errorf("encode node %s: %w", old.Name, err)
	}
	body, err := strategicpatch.CreateTwoWayMergePatch(before, after, v1.Node{})
	if err != nil {
		return nil, fmt.Errorf("compare states of node %s: %w", old.Name, err)
	}
	if replaceAddresses {
		if body, err = withAddresses(body, next.Status.Addresses); err != nil {
			return nil, fmt.Errorf("patch addresses of node %s: %w", old.Name, err)
		}
	}
	node, err := client.CoreV1().Nodes().Patch(ctx, old.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
	if err != nil {
		return nil, fmt.Errorf("patch status of node %s: %w", old.Name, err)
	}
	return node, nil
}

func withAddresses(body []byte, addresses []v1.NodeAddress) ([]byte, error) {
	patch := map[string]any{}
	if err := json.Unmarshal(body, &patch); err != nil {
		return nil, err
	}
	status, _ := patch["status"].(map[string]any)
	if status == nil {
		status = map[string]any{}
	}
	list := make([]any, 0, len(addresses)+1)
	for _, a := range addresses {
		list = append(list, a)
	}
	status["addresses"] = append(list, map[string]string{"$patch": "replace"})
	delete(status, "$setElementOrder/addresses")
	patch["status"] = status
	return json.Marshal(patch)
}
