package nodestatus

import "testing"

func TestVolumesMaySwap(t *testing.T) {
	for _, c := range []struct {
		m    Machine
		want bool
	}{
		{Machine{Kernel: "6.1.0-13-amd64"}, false}, {Machine{Kernel: "6.1.0-13-amd64", Swap: 1}, true}, {Machine{Kernel: "5.15.0", Swap: 1}, true},
		{Machine{Kernel: "6.4.0-rc1", Swap: 1}, false}, {Machine{Kernel: "6.12.3+deb13", Swap: 1}, false}, {Machine{Kernel: "mine", Swap: 1}, true},
	} {
		if got := c.m.VolumesMaySwap(); got != c.want {
			t.Errorf("%+v: %v", c.m, got)
		}
	}
}
