package nodelocal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/volume/plugin"
	"github.com/troupe-dev/troupe/actors/volume/volumeplan"
	"github.com/troupe-dev/troupe/messages/model"
)

type hostPath struct{}

func (hostPath) Name() string               { return volumeplan.HostPath }
func (hostPath) Supports(v *v1.Volume) bool { return v.HostPath != nil }

func (hostPath) Remote(*v1.Volume) bool { return false }

// Gather checks the path in its Write, and makes it where its type asks for that. Nothing is mounted, so nothing of it is
// below the pod's directory and nothing of it is ever removed.
func (hostPath) Gather(_ context.Context, r plugin.Request) (plugin.Write, error) {
	path := r.Volume.HostPath.Path
	if slices.Contains(strings.Split(path, "/"), "..") {
		return nil, fmt.Errorf("invalid HostPath `%s`: must not contain '..'", path)
	}
	return func(context.Context) (plugin.Result, error) {
		if t := r.Volume.HostPath.Type; t != nil && *t != v1.HostPathUnset {
			if err := checkType(path, *t); err != nil {
				return plugin.Result{}, err
			}
		}
		return plugin.Result{Mount: model.VolumeMount{HostPath: path}}, nil
	}, nil
}

// checkType tells whether the path is of the type, links followed. The texts are the kubelet's.
func checkType(path string, t v1.HostPathType) error {
	st, err := os.Stat(path)
	missing := err != nil
	var mode fs.FileMode
	if !missing {
		mode = st.Mode()
	}
	what := ""
	switch t {
	case v1.HostPathDirectoryOrCreate:
		if missing {
			return os.MkdirAll(path, 0o755)
		}
		fallthrough
	case v1.HostPathDirectory:
		if missing || !mode.IsDir() {
			what = "a directory"
		}
	case v1.HostPathFileOrCreate:
		if missing {
			return makeFile(path)
		}
		fallthrough
	case v1.HostPathFile:
		if missing || !mode.IsRegular() {
			what = "a file"
		}
	case v1.HostPathSocket:
		if missing || mode&fs.ModeSocket == 0 {
			what = "a socket file"
		}
	case v1.HostPathCharDev:
		if missing || mode&fs.ModeCharDevice == 0 {
			what = "a character device"
		}
	case v1.HostPathBlockDev:
		if missing || mode&fs.ModeDevice == 0 || mode&fs.ModeCharDevice != 0 {
			what = "a block device"
		}
	case v1.HostPathUnset:
	default:
		return fmt.Errorf("%s is an invalid volume type", t)
	}
	if what != "" {
		return fmt.Errorf("hostPath type check failed: %s is not %s", path, what)
	}
	return nil
}

func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE, 0o644)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return f.Close()
}

type image struct{}

func (image) Name() string               { return volumeplan.Image }
func (image) Supports(v *v1.Volume) bool { return v.Image != nil }

func (image) Remote(*v1.Volume) bool { return false }

// Gather does nothing: the runtime mounts the image. It is pulled when the container's turn comes.
func (image) Gather(_ context.Context, r plugin.Request) (plugin.Write, error) {
	return func(context.Context) (plugin.Result, error) {
		return plugin.Result{Mount: model.VolumeMount{ImageRef: r.Volume.Image.Reference, ReadOnly: true, SELinuxRelabel: true}}, nil
	}, nil
}
