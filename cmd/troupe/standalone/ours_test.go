package standalone

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestOthersPodsAreHidden(t *testing.T) {
	label := func(uid string) map[string]string { return map[string]string{podUIDLabel: uid} }
	answer := func(_ context.Context, _ string, _, reply any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		switch r := reply.(type) {
		case *runtimeapi.ListPodSandboxResponse:
			r.Items = []*runtimeapi.PodSandbox{{Id: "mine", Labels: label("u")}, {Id: "other", Labels: label("v")}, {Id: "bare"}}
		case *runtimeapi.ListContainersResponse:
			r.Containers = []*runtimeapi.Container{{Id: "other", Labels: label("v")}, {Id: "mine", Labels: label("u")}}
		}
		return nil
	}
	o := &ours{}
	list := func() (*runtimeapi.ListPodSandboxResponse, *runtimeapi.ListContainersResponse) {
		s, c := &runtimeapi.ListPodSandboxResponse{}, &runtimeapi.ListContainersResponse{}
		_ = o.intercept(t.Context(), "", nil, s, nil, answer)
		_ = o.intercept(t.Context(), "", nil, c, nil, answer)
		return s, c
	}
	if s, c := list(); len(s.Items) != 0 || len(c.Containers) != 0 {
		t.Errorf("before the pods are known: %v %v, want nothing", s, c)
	}
	o.set([]types.UID{"u"})
	if s, c := list(); len(s.Items) != 1 || s.Items[0].Id != "mine" || len(c.Containers) != 1 || c.Containers[0].Id != "mine" {
		t.Errorf("lists = %v %v, want ours only", s, c)
	}
}
