// Package allocfile keeps the allocated and the actuated resources of pods on disk, in the kubelet's own two files and
// format, so that a node changes over in both directions without restarting a container that was resized.
package allocfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/dump"

	"github.com/troupe-dev/troupe/actors/node/durable"
	"github.com/troupe-dev/troupe/messages/model"
)

// The names of the files below the root directory (kubelet: pkg/kubelet/allocation, pkg/kubelet/kuberuntime).
const (
	Allocated = "allocated_pods_state"
	Actuated  = "actuated_pods_state"
)

// Entries are the allocations of pods by UID.
type Entries map[model.UID]*model.Allocation

// file is the outer form: a JSON text, and the checksum of that text.
type file struct {
	Data     string `json:"data"`
	Checksum uint64 `json:"checksum"`
}

type data struct {
	Entries map[model.UID]entry `json:"entries,omitempty"`
}

// entry has the field names of the kubelet's struct, which has no JSON tags.
type entry struct {
	ContainerResources map[string]v1.ResourceRequirements
	PodLevelResources  *v1.ResourceRequirements
}

// checksum is FNV-1a over the dump of the text as a Go string.
func checksum(text string) uint64 {
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%v", dump.ForHash(text))
	return uint64(h.Sum32())
}

// Encode makes the content of a file.
func Encode(e Entries) ([]byte, error) {
	d := data{Entries: make(map[model.UID]entry, len(e))}
	for uid, a := range e {
		d.Entries[uid] = entry{a.Containers, a.Pod}
	}
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode allocations: %w", err)
	}
	return json.Marshal(file{string(raw), checksum(string(raw))})
}

// ErrCorrupt says that a file is not what was written.
var ErrCorrupt = errors.New("the checkpoint is corrupt")

// Decode reads the content of a file; its errors match ErrCorrupt.
func Decode(raw []byte) (Entries, error) {
	var f file
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if sum := checksum(f.Data); sum != f.Checksum {
		return nil, fmt.Errorf("%w: checksum %d, expected %d", ErrCorrupt, sum, f.Checksum)
	}
	var d data
	if err := json.Unmarshal([]byte(f.Data), &d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	out := make(Entries, len(d.Entries))
	for uid, e := range d.Entries {
		if e.ContainerResources == nil {
			e.ContainerResources = map[string]v1.ResourceRequirements{}
		}
		out[uid] = &model.Allocation{Containers: e.ContainerResources, Pod: e.PodLevelResources}
	}
	return out, nil
}

// Load reads a file; one that is not there is empty. A corrupt one is set aside under the name that is returned, with the
// error that says what is wrong with it: the caller goes on without.
func Load(dir, name string) (e Entries, aside string, err error) {
	path := filepath.Join(dir, name)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Entries{}, "", nil
	}
	if err != nil {
		return Entries{}, "", fmt.Errorf("read %s: %w", path, err)
	}
	e, err = Decode(raw)
	if err == nil {
		return e, "", nil
	}
	aside = path + ".corrupt"
	if moved := os.Rename(path, aside); moved != nil {
		return Entries{}, "", errors.Join(fmt.Errorf("read %s: %w", path, err), moved)
	}
	return Entries{}, aside, fmt.Errorf("read %s: %w", path, err)
}

// Save replaces a file: a reader, or the next start, finds the old content or the new one and nothing in between.
func Save(dir, name string, e Entries) error {
	raw, err := Encode(e)
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(dir, name), raw)
}
