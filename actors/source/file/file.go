// Package file is the source of static pods: the manifests in a folder, or one file. It reads on every change that the
// kernel reports and, as the net beneath it, every 20 s.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/source/podchange"
	"github.com/troupe-dev/troupe/actors/source/staticpod"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podsmsg"
)

// Name is the name of this source in podsmsg.
const Name = "file"

// DefaultRescan is fileCheckFrequency's default (KubeletConfiguration).
const DefaultRescan = 20 * time.Second

// settle is how long a burst of changes (create, write, write, rename) is waited for before the path is read.
const settle = 20 * time.Millisecond

// Deps are the parties that the source talks to.
type Deps struct {
	// Pods receives podsmsg.Assigned, Removed and SourceSynced.
	Pods   messages.Sink
	Logger klog.Logger
}

// Config of the source.
type Config struct {
	// Path is staticPodPath: a folder (read one level deep, names with a leading dot left out) or a file.
	Path     string
	NodeName string
	// Rescan is the period of the full look; 0 for DefaultRescan.
	Rescan time.Duration
	// AllowAPIReferences admits manifests that refer to API objects.
	AllowAPIReferences bool
}

// Source delivers the static pods of a path.
type Source struct {
	deps   Deps
	config Config
	// files is what is known of each manifest, by its path.
	files  map[string]manifest
	sent   map[model.UID]*v1.Pod
	synced bool
	again  chan struct{}
}

// manifest is one file as it was read last.
type manifest struct {
	stat stat
	// pod is the last one that was good: a file that is being rewritten, or has been spoilt, keeps what runs.
	pod *v1.Pod
}

type stat struct {
	modified time.Time
	size     int64
}

// New makes the source; Run starts it.
func New(deps Deps, config Config) *Source {
	if config.Rescan == 0 {
		config.Rescan = DefaultRescan
	}
	config.Path = strings.TrimRight(config.Path, string(os.PathSeparator))
	return &Source{deps: deps, config: config, files: map[string]manifest{}, sent: map[model.UID]*v1.Pod{}, again: make(chan struct{}, 1)}
}

// Run reads until ctx ends.
func (s *Source) Run(ctx context.Context) {
	events, stop := s.watch()
	defer stop()
	s.Scan()
	rescan := time.NewTicker(s.config.Rescan)
	defer rescan.Stop()
	settled := time.NewTimer(settle)
	settled.Stop()
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			if e.Op != fsnotify.Chmod {
				settled.Reset(settle)
			}
		case <-settled.C:
			s.Scan()
		case <-s.again:
			s.sent, s.synced = map[model.UID]*v1.Pod{}, false
			s.Scan()
		case <-rescan.C:
			if events == nil { // the path did not exist, or its watch broke
				stop()
				events, stop = s.watch()
			}
			s.Scan()
		}
	}
}

// Resend delivers everything again, to a receiver that has forgotten it. It does not block.
func (s *Source) Resend() {
	select {
	case s.again <- struct{}{}:
	default: // it is about to
	}
}

// watch asks the kernel to report changes; without that the rescan alone has to do.
func (s *Source) watch() (<-chan fsnotify.Event, func()) {
	none := func() {}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		s.deps.Logger.Error(err, "Cannot watch static pod path, relying on rescans", "path", s.config.Path)
		return nil, none
	}
	if err := w.Add(s.config.Path); err != nil {
		w.Close()
		if !errors.Is(err, fs.ErrNotExist) {
			s.deps.Logger.Error(err, "Cannot watch static pod path, relying on rescans", "path", s.config.Path)
		}
		return nil, none
	}
	events := make(chan fsnotify.Event, 1)
	go func() {
		defer close(events)
		for {
			select {
			case e, ok := <-w.Events:
				if !ok {
					return
				}
				select {
				case events <- e:
				default: // one pending event is enough: it leads to a whole scan
				}
				if e.Name == s.config.Path && (e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)) {
					w.Close()
					return
				}
			case err, ok := <-w.Errors:
				if !ok {
					return
				}
				s.deps.Logger.Error(err, "Watch of static pod path", "path", s.config.Path)
			}
		}
	}()
	return events, func() { w.Close() }
}

// Scan reads the path once and tells what changed. It must not be called while Run runs.
func (s *Source) Scan() {
	paths, err := s.list()
	if err != nil {
		// Nothing is taken away because we could not look.
		s.deps.Logger.Error(err, "Unable to read static pod path", "path", s.config.Path)
		return
	}
	known := make(map[string]manifest, len(paths))
	wanted, modified := make(map[model.UID]*v1.Pod, len(paths)), make(map[model.UID]time.Time, len(paths))
	names := make(map[string]string, len(paths))
	for _, path := range paths {
		m, ok := s.read(path)
		if !ok {
			continue
		}
		known[path] = m
		if m.pod == nil {
			continue
		}
		fullName := m.pod.Namespace + "/" + m.pod.Name
		if other, taken := names[fullName]; taken {
			s.deps.Logger.Error(nil, "Two manifests name one static pod, using the first", "pod", fullName, "first", other, "ignored", path)
			continue
		}
		names[fullName] = path
		wanted[m.pod.UID], modified[m.pod.UID] = m.pod, m.stat.modified
	}
	s.files = known
	s.tell(wanted, modified)
}

func (s *Source) tell(wanted map[model.UID]*v1.Pod, modified map[model.UID]time.Time) {
	for uid := range s.sent {
		if wanted[uid] == nil {
			s.deps.Pods.Tell(podsmsg.Removed{Source: Name, UID: uid})
		}
	}
	for uid, pod := range wanted {
		if s.sent[uid] != pod {
			s.deps.Pods.Tell(podsmsg.Assigned{Source: Name, Pod: pod, Modified: modified[uid]})
		}
	}
	s.sent = wanted
	if !s.synced {
		s.synced = true
		s.deps.Pods.Tell(podsmsg.SourceSynced{Source: Name})
	}
}

// list returns the manifests' paths in lexical order. A path that does not exist holds none.
func (s *Source) list() ([]string, error) {
	info, err := os.Stat(s.config.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case info.Mode().IsRegular():
		return []string{s.config.Path}, nil
	case !info.IsDir():
		return nil, fmt.Errorf("%s is neither a folder nor a file", s.config.Path)
	}
	entries, err := os.ReadDir(s.config.Path)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			paths = append(paths, filepath.Join(s.config.Path, e.Name()))
		}
	}
	return paths, nil
}

// read returns what is known of one path now; false when there is no such manifest.
func (s *Source) read(path string) (manifest, bool) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.deps.Logger.Error(err, "Could not get metadata", "path", path)
		}
		return manifest{}, false
	}
	old, seen := s.files[path]
	now := stat{info.ModTime(), info.Size()}
	if seen && old.stat == now {
		return old, true
	}
	pod, err := s.load(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return manifest{}, false
	case err != nil:
		s.deps.Logger.Error(err, "Could not process manifest file", "path", path, "keepsRunning", old.pod != nil)
		return manifest{stat: now, pod: old.pod}, true
	case old.pod != nil && old.pod.UID == pod.UID:
		podchange.Mark(&pod.ObjectMeta, Name, old.pod.Annotations[podchange.ConfigSeen])
		if podchange.StatusOnly(old.pod, pod) {
			return manifest{stat: now, pod: old.pod}, true
		}
	default:
		podchange.Mark(&pod.ObjectMeta, Name, time.Now().Format(time.RFC3339Nano))
	}
	return manifest{stat: now, pod: pod}, true
}

func (s *Source) load(path string) (*v1.Pod, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, staticpod.MaxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(data) > staticpod.MaxManifest {
		return nil, fmt.Errorf("manifest is larger than %d bytes", staticpod.MaxManifest)
	}
	pod, more, err := staticpod.Decode(data)
	if err != nil {
		return nil, err
	}
	if more {
		s.deps.Logger.Info("Manifest holds several documents, only the first counts", "path", path)
	}
	from := staticpod.Origin{NodeName: s.config.NodeName, Source: Name, Path: path, AllowAPIReferences: s.config.AllowAPIReferences}
	return pod, staticpod.Prepare(pod, from)
}
