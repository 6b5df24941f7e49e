package standalone

import (
	"context"
	"slices"
	"sync/atomic"

	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// podUIDLabel is the label by which every node agent marks its sandboxes and containers.
const podUIDLabel = "io.kubernetes.pod.uid"

// ours hides from the agent what is not of this run in a runtime that others use, too: an agent ends pods that nobody
// asked for, and here others did. Until set is called nothing is shown.
type ours struct {
	pods atomic.Pointer[map[string]bool]
}

func (o *ours) set(uids []types.UID) {
	m := make(map[string]bool, len(uids))
	for _, u := range uids {
		m[string(u)] = true
	}
	o.pods.Store(&m)
}

func (o *ours) foreign(labels map[string]string) bool {
	m := o.pods.Load()
	return m == nil || !(*m)[labels[podUIDLabel]]
}

// intercept filters the answers to lists.
func (o *ours) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	switch r := reply.(type) {
	case *runtimeapi.ListPodSandboxResponse:
		r.Items = slices.DeleteFunc(r.Items, func(s *runtimeapi.PodSandbox) bool { return o.foreign(s.GetLabels()) })
	case *runtimeapi.ListContainersResponse:
		r.Containers = slices.DeleteFunc(r.Containers, func(c *runtimeapi.Container) bool { return o.foreign(c.GetLabels()) })
	}
	return err
}
