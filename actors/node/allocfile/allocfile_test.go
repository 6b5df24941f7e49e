package allocfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/troupe-dev/troupe/actors/pod/allocation"
	"github.com/troupe-dev/troupe/messages/model"
)

// golden was written by a kubelet (its own test data).
const golden = `{"data":"{\"entries\":{\"pod1\":{\"ContainerResources\":{\"container1\":{\"requests\":{\"cpu\":\"1Ki\",\"memory\":\"1Ki\"}}}}}}","checksum":1178570812}`

func entries() Entries {
	return Entries{"pod1": {Containers: map[string]v1.ResourceRequirements{
		"container1": {Requests: v1.ResourceList{"cpu": resource.MustParse("1Ki"), "memory": resource.MustParse("1Ki")}},
	}}}
}

func same(a, b Entries) bool {
	if len(a) != len(b) {
		return false
	}
	for uid := range a {
		if !allocation.Equal(a[uid], b[uid]) {
			return false
		}
	}
	return true
}

func TestKubeletsFileIsRead(t *testing.T) {
	got, err := Decode([]byte(golden))
	if err != nil {
		t.Fatal(err)
	}
	if !same(got, entries()) {
		t.Errorf("got %v", got)
	}
}

// The kubelet writes PodLevelResources too since 1.34; this is what it computes for the text.
func TestWhatIsWrittenIsReadBack(t *testing.T) {
	for name, e := range map[string]Entries{
		"none": {}, "one": entries(),
		"pod": {"u": {Containers: map[string]v1.ResourceRequirements{}, Pod: &v1.ResourceRequirements{Limits: v1.ResourceList{"cpu": resource.MustParse("2")}}}},
	} {
		raw, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(raw)
		if err != nil || !same(got, e) {
			t.Errorf("%s: %v, %v from %s", name, got, err, raw)
		}
	}
}

func TestCorruptFileIsSetAside(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON": "x", "cut": golden[:50], "other checksum": golden[:len(golden)-2] + "3}", "inner text": `{"data":"x","checksum":0}`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, Allocated)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		e, aside, err := Load(dir, Allocated)
		if !errors.Is(err, ErrCorrupt) || len(e) != 0 {
			t.Errorf("%s: %v, %v", name, e, err)
		}
		if raw, err := os.ReadFile(aside); err != nil || string(raw) != text {
			t.Errorf("%s: set aside as %q: %v", name, raw, err)
		}
		if e, _, err := Load(dir, Allocated); err != nil || e == nil {
			t.Errorf("%s: the next start: %v", name, err)
		}
	}
}

func TestSaveReplacesWhole(t *testing.T) {
	dir := t.TempDir()
	if err := Save(dir, Actuated, entries()); err != nil {
		t.Fatal(err)
	}
	more := entries()
	more["pod2"] = &model.Allocation{Containers: map[string]v1.ResourceRequirements{}}
	if err := Save(dir, Actuated, more); err != nil {
		t.Fatal(err)
	}
	if got, _, err := Load(dir, Actuated); err != nil || !same(got, more) {
		t.Errorf("%v, %v", got, err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
	if err := Save(filepath.Join(dir, "missing"), Actuated, more); err == nil {
		t.Error("a folder that is not there was written to")
	}
}
