package pod

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

type users struct{ err error }

func (u users) Range(context.Context, model.UID) (model.IDRange, error) {
	return model.IDRange{First: 131072, Length: 65536}, u.err
}

func (u users) Recorded(model.UID) (model.IDRange, error) {
	return model.IDRange{First: 131072, Length: 65536}, u.err
}

func TestUserNamespaceOfSandbox(t *testing.T) {
	yes, no := true, false
	able := func(handler string) (bool, error) {
		if handler == "gone" {
			return false, errors.New(`the handler "gone" is not known`)
		}
		return handler != "old", nil
	}
	for name, c := range map[string]struct {
		hostUsers *bool
		handler   string
		builder   SandboxBuilder
		own       bool
		err       string
	}{
		"not said":           {nil, "", SandboxBuilder{}, false, ""},
		"the node's":         {&yes, "old", SandboxBuilder{Users: users{}, UserNamespaces: able}, false, ""},
		"its own":            {&no, "", SandboxBuilder{Users: users{}, UserNamespaces: able}, true, ""},
		"no support":         {&no, "old", SandboxBuilder{Users: users{}, UserNamespaces: able}, false, `RuntimeClass handler "old" does not support user namespaces`},
		"unknown handler":    {&no, "gone", SandboxBuilder{Users: users{}, UserNamespaces: able}, false, `the handler "gone" is not known`},
		"nobody to ask":      {&no, "", SandboxBuilder{}, false, "runtime does not support user namespaces"},
		"no range to be had": {&no, "", SandboxBuilder{Users: users{errors.New("all taken")}, UserNamespaces: able}, false, "all taken"},
	} {
		pod := &v1.Pod{Spec: v1.PodSpec{HostUsers: c.hostUsers}}
		c.builder.HostIPs = func() []string { return nil }
		got, err := c.builder.userns(t.Context(), pod, c.handler)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", name, err, c.err)
			continue
		}
		if err != nil {
			continue
		}
		cfg, err := c.builder.Config(pod, 0, "/", got, nil)
		if err != nil {
			t.Fatal(err)
		}
		o := cfg.Linux.SecurityContext.NamespaceOptions.UsernsOptions
		switch {
		case !c.own && (o.GetMode() != runtimeapi.NamespaceMode_NODE || len(o.Uids) > 0):
			t.Errorf("%s: %v, want the node's", name, o)
		case c.own && (o.GetMode() != runtimeapi.NamespaceMode_POD || len(o.Uids) != 1 || o.Uids[0].HostId != 131072 || o.Uids[0].ContainerId != 0 || o.Gids[0].Length != 65536):
			t.Errorf("%s: %v", name, o)
		}
	}
}

// A sandbox that was made before the agent started needs its record: without, nothing is made for it.
func TestUserNamespaceOfOldSandbox(t *testing.T) {
	no := false
	pod := &v1.Pod{Spec: v1.PodSpec{HostUsers: &no}}
	b := SandboxBuilder{Users: users{}}
	if got, err := b.recorded(pod); err != nil || got.Uids[0].HostId != 131072 {
		t.Errorf("%v %v", got, err)
	}
	b.Users = users{os.ErrNotExist}
	if got, err := b.recorded(pod); err == nil {
		t.Errorf("without a record: %v", got)
	}
	if got, err := b.recorded(&v1.Pod{}); got != nil || err != nil {
		t.Errorf("a pod that shares the node's users: %v %v", got, err)
	}
}
