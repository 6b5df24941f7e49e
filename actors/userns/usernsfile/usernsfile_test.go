package usernsfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/troupe-dev/troupe/messages/model"
)

// The text is what a kubelet of 1.36 leaves in pods/<uid>/userns.
const kubelets = `{"uidMappings":[{"hostId":131072,"containerId":0,"length":65536}],"gidMappings":[{"hostId":131072,"containerId":0,"length":65536}]}`

func TestFormat(t *testing.T) {
	r := model.IDRange{First: 131072, Length: 65536}
	raw, err := Encode(r)
	if err != nil || string(raw) != kubelets {
		t.Errorf("encoded %s %v", raw, err)
	}
	if got, err := Decode([]byte(kubelets)); err != nil || got != r {
		t.Errorf("decoded %v %v", got, err)
	}
	for _, bad := range []string{
		``, `{}`, `{"uidMappings":[{"hostId":1,"containerId":0,"length":2}]}`,
		`{"uidMappings":[{"hostId":1,"containerId":0,"length":2}],"gidMappings":[{"hostId":3,"containerId":0,"length":2}]}`,
		`{"uidMappings":[{"hostId":1,"containerId":5,"length":2}],"gidMappings":[{"hostId":1,"containerId":5,"length":2}]}`,
		kubelets[:40],
	} {
		if got, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%q was taken for %v", bad, got)
		}
	}
}

func TestReadWriteRemove(t *testing.T) {
	dir, r := filepath.Join(t.TempDir(), "uid"), model.IDRange{First: 65536, Length: 65536}
	if _, err := Read(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := Write(dir, r); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(dir); err != nil || got != r {
		t.Errorf("read %v %v", got, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != Name {
		t.Errorf("in the directory: %v", left)
	}
	for range 2 {
		if err := Remove(dir); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, Name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty record: %v", err)
	}
}
