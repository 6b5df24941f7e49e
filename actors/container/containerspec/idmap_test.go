package containerspec

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Every mount of a pod with a user namespace of its own carries its mapping; those of other pods carry none.
func TestMountsOfUserNamespace(t *testing.T) {
	ids := []*runtimeapi.IDMapping{{HostId: 65536, Length: 65536}}
	for _, ns := range []*runtimeapi.UserNamespace{
		nil, {Mode: runtimeapi.NamespaceMode_NODE}, {Mode: runtimeapi.NamespaceMode_POD, Uids: ids, Gids: ids},
	} {
		cfg, err := Config(Input{
			Pod: &v1.Pod{}, Container: &v1.Container{Name: "app"}, Userns: ns,
			Mounts: []*runtimeapi.Mount{{ContainerPath: "/data"}, {ContainerPath: "/etc/hosts"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		own := len(ns.GetUids()) > 0
		for _, m := range cfg.Mounts {
			if own != (len(m.UidMappings) == 1 && len(m.GidMappings) == 1) {
				t.Errorf("%v: mount %v", ns, m)
			}
		}
		if got := cfg.Linux.SecurityContext.NamespaceOptions.UsernsOptions; own != (got.GetMode() == runtimeapi.NamespaceMode_POD) {
			t.Errorf("%v: the container has %v", ns, got)
		}
	}
}
