package machine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/troupe-dev/troupe/actors/node/nodestatus"
	"github.com/troupe-dev/troupe/messages/model"
)

func TestRead(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"etc/machine-id":                                        "abc\n",
		"etc/os-release":                                        "ID=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
		"proc/sys/kernel/random/boot_id":                        "boot\n",
		"proc/sys/kernel/osrelease":                             "6.1.0\n",
		"proc/meminfo":                                          "MemTotal:        2048 kB\nMemFree: 1 kB\nSwapTotal:       1024 kB\nHugePages_Total: 4\n",
		"sys/devices/system/cpu/online":                         "0-2,5\n",
		"sys/class/dmi/id/product_uuid":                         "uuid\n",
		"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "3\n",
		"sys/module/apparmor/parameters/enabled":                "Y\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(root, root)
	if err != nil {
		t.Fatal(err)
	}
	if got.Storage == 0 {
		t.Error("no storage")
	}
	got.Storage = 0
	want := nodestatus.Machine{Cores: 4, Memory: 2 << 20, Swap: 1 << 20, HugePages: map[model.Bytes]int64{2 << 20: 3}, MachineID: "abc", SystemUUID: "uuid",
		BootID: "boot", Kernel: "6.1.0", OSImage: "Debian GNU/Linux 12 (bookworm)", AppArmor: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, err := Read(t.TempDir(), root); err == nil {
		t.Error("a machine without CPUs was accepted")
	}
	if _, err := Read("/", "/"); err != nil {
		t.Error(err)
	}
}
