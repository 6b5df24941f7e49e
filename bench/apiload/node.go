package apiload

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
)

func nothing() fields.Selector { return fields.Everything() }

// RemoveNode removes a node object and its lease; that they are not there is success.
func RemoveNode(ctx context.Context, client kubernetes.Interface, name string) error {
	if err := client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove node %s: %w", name, err)
	}
	if err := client.CoordinationV1().Leases(v1.NamespaceNodeLease).Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove the lease of node %s: %w", name, err)
	}
	return nil
}

// WaitNode waits until the node is Ready and says how long that took. alive says why waiting is vain; nil while it is not.
func WaitNode(ctx context.Context, client kubernetes.Interface, name string, alive func() error) (time.Duration, error) {
	start := time.Now()
	for {
		n, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			for _, c := range n.Status.Conditions {
				if c.Type == v1.NodeReady && c.Status == v1.ConditionTrue {
					return time.Since(start), nil
				}
			}
		}
		if err := alive(); err != nil {
			return 0, fmt.Errorf("node %s is not Ready: %w", name, err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("node %s is not Ready: %w", name, context.Cause(ctx))
		}
	}
}

// RegisterNode makes a node object that is Ready and that nobody keeps alive: enough for a short run.
func RegisterNode(ctx context.Context, client kubernetes.Interface, name string) error {
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1.LabelHostname: name}}}
	if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("register node %s: %w", name, err)
	}
	now := metav1.Now()
	raw, err := json.Marshal(map[string]any{"status": v1.NodeStatus{Conditions: []v1.NodeCondition{
		{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "Floor", LastHeartbeatTime: now, LastTransitionTime: now},
	}}})
	if err != nil {
		return err
	}
	if _, err := client.CoreV1().Nodes().PatchStatus(ctx, name, raw); err != nil {
		return fmt.Errorf("register node %s: %w", name, err)
	}
	return nil
}
