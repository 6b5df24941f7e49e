// Package payload turns a volume source and the objects it refers to into files. It is pure: whoever calls it has
// fetched the objects and the tokens before, and writes the files afterwards.
package payload

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/volume/fieldpath"
)

// File is one file of a volume. Owner is the numeric user that owns it, nil for the agent's own.
type File struct {
	Data  []byte
	Mode  int32
	Owner *int64
}

// Files is by relative path below the volume's root. Data is shared with the objects it came from: read only.
type Files map[string]File

// errNoMode can only come from a manifest that skipped the API's defaulting.
var errNoMode = errors.New("no defaultMode used, not even the default value for it")

// ConfigMap returns the files of a config map: all its keys, or those that items name. A nil config map stands for one
// that is missing and optional.
func ConfigMap(items []v1.KeyToPath, cm *v1.ConfigMap, mode *int32, optional bool) (Files, error) {
	if cm == nil {
		cm = &v1.ConfigMap{}
	}
	get := func(key string) ([]byte, bool) {
		if s, ok := cm.Data[key]; ok {
			return []byte(s), true
		}
		b, ok := cm.BinaryData[key]
		return b, ok
	}
	all := func(add func(string)) {
		for k := range cm.Data {
			add(k)
		}
		for k := range cm.BinaryData {
			add(k)
		}
	}
	return project("configmap references non-existent config key: %s", items, mode, optional, get, all)
}

// Secret returns the files of a secret, as ConfigMap does for a config map.
func Secret(items []v1.KeyToPath, s *v1.Secret, mode *int32, optional bool) (Files, error) {
	if s == nil {
		s = &v1.Secret{}
	}
	get := func(key string) ([]byte, bool) { b, ok := s.Data[key]; return b, ok }
	all := func(add func(string)) {
		for k := range s.Data {
			add(k)
		}
	}
	return project("references non-existent secret key: %s", items, mode, optional, get, all)
}

func project(missing string, items []v1.KeyToPath, mode *int32, optional bool, get func(string) ([]byte, bool), all func(func(string))) (Files, error) {
	if mode == nil {
		return nil, errNoMode
	}
	out := Files{}
	if len(items) == 0 {
		all(func(k string) {
			b, _ := get(k)
			out[k] = File{Data: b, Mode: *mode}
		})
		return out, nil
	}
	for _, it := range items {
		b, ok := get(it.Key)
		if !ok {
			if optional {
				continue
			}
			return nil, fmt.Errorf(missing, it.Key)
		}
		m := *mode
		if it.Mode != nil {
			m = *it.Mode
		}
		out[it.Path] = File{Data: b, Mode: m}
	}
	return out, nil
}

// DownwardAPI returns the files of downward API items. Allocatable stands in for limits that a container does not set.
func DownwardAPI(items []v1.DownwardAPIVolumeFile, pod *v1.Pod, allocatable v1.ResourceList, mode *int32) (Files, error) {
	if mode == nil {
		return nil, errNoMode
	}
	out := Files{}
	var errs []error
	for i := range items {
		it := &items[i]
		m := *mode
		if it.Mode != nil {
			m = *it.Mode
		}
		var value string
		var err error
		switch {
		case it.FieldRef != nil:
			value, err = fieldpath.Extract(pod, it.FieldRef.FieldPath)
		case it.ResourceFieldRef != nil:
			value, err = fieldpath.Resource(it.ResourceFieldRef, pod, "", allocatable)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out[filepath.Clean(it.Path)] = File{Data: []byte(value), Mode: m}
	}
	return out, Join(errs)
}

// SecretMode is the mode of a file that holds a credential: 0600 when the pod has one user or an fsGroup (ownership
// then opens it to exactly those), else the volume's default mode.
func SecretMode(defaultMode int32, fsUser, fsGroup *int64) int32 {
	if fsUser != nil || fsGroup != nil {
		return 0o600
	}
	return defaultMode
}

// Join makes one error of several with the text that the kubelet's events have: a single error alone, more of them as
// "[a, b]", each text once.
func Join(errs []error) error {
	seen := map[string]bool{}
	var distinct []error
	for _, e := range errs {
		if e != nil && !seen[e.Error()] {
			seen[e.Error()] = true
			distinct = append(distinct, e)
		}
	}
	switch len(distinct) {
	case 0:
		return nil
	case 1:
		return distinct[0]
	}
	return joined(distinct)
}

type joined []error

func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, e := range j {
		texts[i] = e.Error()
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

func (j joined) Unwrap() []error { return j }
