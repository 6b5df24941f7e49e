package node

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/node/nodestatus"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// heartbeat is a lane of its own: no burst of pods may hold up what says that the node lives.
const heartbeat runner.Lane = "heartbeat"

// callTimeout bounds one call about the node or its lease.
const callTimeout = 10 * time.Second

// The pauses between attempts to register.
const (
	registerFirst = 100 * time.Millisecond
	registerMost  = 7 * time.Second
)

const (
	attachDetachAnnotation = "volumes.kubernetes.io/controller-managed-attach-detach"
	providedIPAnnotation   = "alpha.kubernetes.io/provided-node-ip"
	uninitializedTaint     = "node.cloudprovider.kubernetes.io/uninitialized"
)

// registration is the end of an attempt.
type registration struct {
	node *v1.Node
	err  error
}

// initial is the object that this node would register.
func (s *shell) initial() *v1.Node {
	c := s.config
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.NodeName, Labels: map[string]string{
		v1.LabelHostname: c.Hostname, v1.LabelOSStable: "linux", v1.LabelArchStable: arch, "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": arch,
	}}}
	maps.Copy(node.Labels, c.Labels)
	node.Annotations = s.annotations()
	node.Spec.Taints = slices.Clone(c.Taints)
	if c.ExternalCloudProvider {
		node.Spec.Taints = append(node.Spec.Taints, v1.Taint{Key: uninitializedTaint, Value: "true", Effect: v1.TaintEffectNoSchedule})
	}
	node.Spec.ProviderID, node.Spec.Unschedulable = c.ProviderID, c.Unschedulable
	facts := s.facts
	facts.Now = time.Now()
	nodestatus.Apply(&node.Status, c.Status, facts)
	return node
}

func (s *shell) annotations() map[string]string {
	a := map[string]string{}
	if s.config.ControllerAttachDetach {
		a[attachDetachAnnotation] = "true"
	}
	if s.config.ExternalCloudProvider && len(s.config.NodeIPs) > 0 && !s.config.NodeIPs[0].IsUnspecified() {
		var ips []string
		for _, ip := range s.config.NodeIPs {
			ips = append(ips, ip.String())
		}
		a[providedIPAnnotation] = strings.Join(ips, ",")
	}
	return a
}

func (s *shell) register(c *spawn.Cell) {
	if s.registered || s.joining {
		return
	}
	s.joining = true
	self, client, node, create := c.Self(), s.deps.Client, s.initial(), s.config.Register
	s.deps.Runner.Do(c.Context(), runner.Job{Lane: heartbeat, Op: "register node", Owner: s.config.NodeName, Timeout: callTimeout,
		Fn: func(ctx context.Context) error {
			got, err := registerNode(ctx, client, node, create)
			self.Tell(registration{got, err})
			return err
		},
		OnPanic: func(any) { self.Tell(registration{nil, context.Canceled}) },
	})
}

// registerNode creates the node, or brings the labels and annotations of one that exists up to date.
func registerNode(ctx context.Context, client kubernetes.Interface, node *v1.Node, create bool) (*v1.Node, error) {
	nodes := client.CoreV1().Nodes()
	if create {
		made, err := nodes.Create(ctx, node, metav1.CreateOptions{})
		if err == nil {
			return made, nil
		}
		if !apierrors.IsAlreadyExists(err) && !apierrors.IsForbidden(err) {
			return nil, err
		}
	}
	old, err := nodes.Get(ctx, node.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	next := old.DeepCopy()
	if !create || !reconcile(node, next) {
		return old, nil
	}
	return patchStatus(ctx, client, old, next)
}

// ownLabels are those that a node keeps as it registers them; all others belong to whoever set them.
var ownLabels = [...]string{v1.LabelHostname, v1.LabelTopologyZone, v1.LabelTopologyRegion, v1.LabelFailureDomainBetaZone, v1.LabelFailureDomainBetaRegion,
	v1.LabelInstanceTypeStable, v1.LabelInstanceType, v1.LabelOSStable, v1.LabelArchStable, "beta.kubernetes.io/os", "beta.kubernetes.io/arch"}

// reconcile brings an existing node up to date, in place, and says whether it changed. Taints and the labels of others
// are not touched: since the node exists they are the cluster's.
func reconcile(want, node *v1.Node) bool {
	changed := false
	for _, name := range ownLabels {
		value, ok := want.Labels[name]
		if !ok || value == "" || node.Labels[name] == value {
			continue
		}
		if node.Labels == nil {
			node.Labels = map[string]string{}
		}
		node.Labels[name], changed = value, true
	}
	value, ok := want.Annotations[attachDetachAnnotation]
	if have, had := node.Annotations[attachDetachAnnotation]; had != ok || have != value {
		changed = true
		if ok {
			if node.Annotations == nil {
				node.Annotations = map[string]string{}
			}
			node.Annotations[attachDetachAnnotation] = value
		} else {
			delete(node.Annotations, attachDetachAnnotation)
		}
	}
	return changed
}

func (s *shell) registrationDone(c *spawn.Cell, m registration) {
	s.joining = false
	if m.err != nil {
		wait := min(registerFirst<<min(s.attempts, 10), registerMost)
		s.attempts++
		s.deps.Logger.Error(m.err, "Unable to register node with API server", "node", klog.KRef("", s.config.NodeName), "retryAfter", wait)
		c.Entry().SetState("registering")
		c.After(wait, register{})
		return
	}
	s.registered, s.attempts = true, 0
	s.deps.Logger.Info("Successfully registered node", "node", klog.KRef("", s.config.NodeName))
	c.Entry().SetState("")
	s.seen(c, m.node)
	s.renew(c)
	s.write(c)
}
