// Package usernsfile records a pod's range of user ids in the pod's directory, in the kubelet's own file and format, so
// that a node changes over in both directions.
package usernsfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/troupe-dev/troupe/actors/node/durable"
	"github.com/troupe-dev/troupe/messages/model"
)

// Name is the file below a pod's directory (kubelet: pkg/kubelet/userns).
const Name = "userns"

type mapping struct {
	HostID      uint32 `json:"hostId"`
	ContainerID uint32 `json:"containerId"`
	Length      uint32 `json:"length"`
}

type file struct {
	UIDs []mapping `json:"uidMappings"`
	GIDs []mapping `json:"gidMappings"`
}

// Encode makes the content of a file.
func Encode(r model.IDRange) ([]byte, error) {
	m := []mapping{{HostID: r.First, Length: r.Length}}
	return json.Marshal(file{m, m})
}

// Decode reads the content of a file: one mapping from 0 on, the same for users and groups.
func Decode(raw []byte) (model.IDRange, error) {
	var f file
	if err := json.Unmarshal(raw, &f); err != nil {
		return model.IDRange{}, fmt.Errorf("user namespace record: %w", err)
	}
	if len(f.UIDs) != 1 || len(f.GIDs) != 1 || f.UIDs[0] != f.GIDs[0] {
		return model.IDRange{}, errors.New("user namespace record: not one mapping that is the same for users and groups")
	}
	if f.UIDs[0].ContainerID != 0 {
		return model.IDRange{}, errors.New("user namespace record: id 0 is not mapped")
	}
	return model.IDRange{First: f.UIDs[0].HostID, Length: f.UIDs[0].Length}, nil
}

// Read reads the record of a pod. One that is not there matches fs.ErrNotExist.
func Read(podDir string) (model.IDRange, error) {
	raw, err := os.ReadFile(filepath.Join(podDir, Name))
	if err == nil && len(raw) == 0 {
		err = fs.ErrNotExist // the kubelet takes an empty one for none
	}
	if err != nil {
		return model.IDRange{}, fmt.Errorf("read %s: %w", filepath.Join(podDir, Name), err)
	}
	r, err := Decode(raw)
	if err != nil {
		return model.IDRange{}, fmt.Errorf("read %s: %w", filepath.Join(podDir, Name), err)
	}
	return r, nil
}

// Write records the range: after it has returned, a crash of the machine does not lose it.
func Write(podDir string, r model.IDRange) error {
	raw, err := Encode(r)
	if err == nil {
		err = os.MkdirAll(podDir, 0o750)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(podDir, Name), err)
	}
	return durable.Replace(filepath.Join(podDir, Name), raw)
}

// Remove removes the record; one that is not there is success.
func Remove(podDir string) error {
	err := os.Remove(filepath.Join(podDir, Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
