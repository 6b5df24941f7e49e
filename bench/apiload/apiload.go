// Package apiload puts the bench's pods on a node through an API server, and watches what becomes of them.
package apiload

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/troupe-dev/troupe/bench/load"
)

// Client makes a client without a limit of its own, speaking protobuf: what it costs, the node's share of the machine
// lacks.
func Client(kubeconfig string) (kubernetes.Interface, *rest.Config, error) {
	c, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, nil, fmt.Errorf("--kubeconfig %s: %w", kubeconfig, err)
	}
	c.QPS = -1
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	c.UserAgent = "troupe-bench"
	client, err := kubernetes.NewForConfig(c)
	return client, c, err
}

// Target is a namespace of the bench's own. It is a load.Target.
type Target struct {
	client    kubernetes.Interface
	namespace string
	make      func(name string) *v1.Pod
	grace     int64
	events    atomic.Uint64
	stop      context.CancelFunc
}

// New makes the namespace, which must not exist, waits until pods can be made in it, and begins to watch. grace (seconds) is
// what deletes ask for. Close removes the namespace.
func New(ctx context.Context, client kubernetes.Interface, namespace string, tracker *load.Tracker, make func(name string) *v1.Pod, grace int64) (*Target, error) {
	if _, err := client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("create namespace %s: %w", namespace, err)
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	t := &Target{client: client, namespace: namespace, make: make, grace: grace, stop: stop}
	if err := t.start(ctx, watching, tracker); err != nil {
		t.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return t, nil
}

func (t *Target) start(ctx, watching context.Context, tracker *load.Tracker) error {
	// Pods are refused until the namespace's service account and its certificates are there.
	accountThere := func() error {
		_, err := t.client.CoreV1().ServiceAccounts(t.namespace).Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			_, err = t.client.CoreV1().ConfigMaps(t.namespace).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		}
		return err
	}
	for err := accountThere(); err != nil; err = accountThere() {
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("namespace %s: %w", t.namespace, err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("namespace %s never became usable: %w", t.namespace, err)
		}
	}
	core := t.client.CoreV1().RESTClient()
	pods := follow(cache.NewListWatchFromClient(core, "pods", t.namespace, nothing()), &v1.Pod{}, cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { seen(tracker, o.(*v1.Pod)) },
		UpdateFunc: func(_, o any) { seen(tracker, o.(*v1.Pod)) },
		DeleteFunc: func(o any) {
			if tomb, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = tomb.Obj
			}
			tracker.Gone(o.(*v1.Pod).Name, time.Now())
		},
	})
	events := follow(cache.NewListWatchFromClient(core, "events", t.namespace, nothing()), &v1.Event{}, cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { t.events.Add(1) },
		UpdateFunc: func(any, any) { t.events.Add(1) },
	})
	go pods.Run(watching.Done())
	go events.Run(watching.Done())
	if !cache.WaitForCacheSync(ctx.Done(), pods.HasSynced, events.HasSynced) {
		return fmt.Errorf("watch the pods of namespace %s: %w", t.namespace, context.Cause(ctx))
	}
	return nil
}

func follow(lw cache.ListerWatcher, kind runtime.Object, h cache.ResourceEventHandler) cache.Controller {
	_, c := cache.NewInformerWithOptions(cache.InformerOptions{ListerWatcher: lw, ObjectType: kind, Handler: h})
	return c
}

func seen(tracker *load.Tracker, p *v1.Pod) {
	tracker.Seen(p.Name, string(p.UID), Ready(p), time.Now())
}

// Ready says whether a pod's Ready condition is true.
func Ready(p *v1.Pod) bool {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == v1.PodReady {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

// Create implements load.Target.
func (t *Target) Create(ctx context.Context, name string) error {
	if _, err := t.client.CoreV1().Pods(t.namespace).Create(ctx, t.make(name), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create pod %s: %w", name, err)
	}
	return nil
}

// Delete implements load.Target.
func (t *Target) Delete(ctx context.Context, name string) error {
	if err := t.client.CoreV1().Pods(t.namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &t.grace}); err != nil {
		return fmt.Errorf("delete pod %s: %w", name, err)
	}
	return nil
}

// Events are the writes of event objects in the namespace since the start.
func (t *Target) Events() uint64 { return t.events.Load() }

// Close ends the watches, removes what pods are left without grace, and the namespace.
func (t *Target) Close(ctx context.Context) error {
	t.stop()
	now := int64(0)
	if err := t.client.CoreV1().Pods(t.namespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("remove the pods of namespace %s: %w", t.namespace, err)
	}
	if err := t.client.CoreV1().Namespaces().Delete(ctx, t.namespace, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("remove namespace %s: %w", t.namespace, err)
	}
	return nil
}
