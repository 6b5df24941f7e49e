// Package http is the source of static pods from a URL: one pod or a list of pods, asked for again every 20 s.
package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/source/podchange"
	"github.com/troupe-dev/troupe/actors/source/staticpod"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podsmsg"
)

// Name is the name of this source in podsmsg.
const Name = "http"

// DefaultPeriod is httpCheckFrequency's default (KubeletConfiguration).
const DefaultPeriod = 20 * time.Second

// timeout bounds one request, as in the kubelet.
const timeout = 10 * time.Second

// loudFailures is how many failures in a row are logged; an outage of hours must not fill the log.
const loudFailures = 3

// Deps are the parties that the source talks to.
type Deps struct {
	// Pods receives podsmsg.Assigned, Removed and SourceSynced.
	Pods   messages.Sink
	Logger klog.Logger
	// Transport makes the requests; nil for the usual one.
	Transport http.RoundTripper
}

// Config of the source.
type Config struct {
	// URL is staticPodURL, Header staticPodURLHeader, which may hold secrets.
	URL      string
	Header   http.Header
	NodeName string
	// Period is the pause between two requests; 0 for DefaultPeriod.
	Period time.Duration
	// AllowAPIReferences admits manifests that refer to API objects.
	AllowAPIReferences bool
}

// Source delivers the static pods of a URL.
type Source struct {
	deps     Deps
	config   Config
	client   *http.Client
	data     []byte
	sent     map[model.UID]*v1.Pod
	synced   bool
	failures int
	again    chan struct{}
}

// New makes the source; Run starts it.
func New(deps Deps, config Config) *Source {
	if config.Period == 0 {
		config.Period = DefaultPeriod
	}
	return &Source{deps: deps, config: config, client: &http.Client{Timeout: timeout, Transport: deps.Transport}, sent: map[model.UID]*v1.Pod{}, again: make(chan struct{}, 1)}
}

// Run asks until ctx ends. Nothing is taken away because the server did not answer, or answered nonsense.
func (s *Source) Run(ctx context.Context) {
	period := time.NewTicker(s.config.Period)
	defer period.Stop()
	for {
		s.report(s.read(ctx), ctx)
		for wait := true; wait; {
			select {
			case <-ctx.Done():
				return
			case <-s.again:
				s.resend()
			case <-period.C:
				wait = false
			}
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

func (s *Source) resend() {
	for _, pod := range s.sent {
		s.deps.Pods.Tell(podsmsg.Assigned{Source: Name, Pod: pod})
	}
	if s.synced {
		s.deps.Pods.Tell(podsmsg.SourceSynced{Source: Name})
	}
}

func (s *Source) report(err error, ctx context.Context) {
	switch {
	case ctx.Err() != nil:
	case err == nil:
		if s.failures > 0 {
			s.deps.Logger.Info("Successfully read pods from URL")
		}
		s.failures = 0
	default:
		s.failures++
		level := klog.Level(0)
		if s.failures > loudFailures {
			level = 4
		}
		s.deps.Logger.V(int(level)).Info("Failed to read pods from URL", "err", err, "failures", s.failures)
	}
}

// read asks once and tells what changed.
func (s *Source) read(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.config.URL, nil)
	if err != nil {
		return err
	}
	if s.config.Header != nil {
		req.Header = s.config.Header
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, staticpod.MaxManifest+1))
	switch {
	case err != nil:
		return err
	case len(data) > staticpod.MaxManifest:
		return fmt.Errorf("answer is larger than %d bytes", staticpod.MaxManifest)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("server answered %s", resp.Status)
	case len(data) == 0:
		s.data = nil
		s.tell(nil) // nothing is to run here: that is an answer, too
		return errors.New("server answered with nothing")
	case bytes.Equal(data, s.data):
		return nil
	}
	pods, err := s.prepare(data)
	if err != nil {
		return err
	}
	s.data = data
	s.tell(pods)
	return nil
}

// prepare makes pods of an answer; one that is wrong spoils all, so that half an answer changes nothing.
func (s *Source) prepare(data []byte) ([]*v1.Pod, error) {
	pods, err := staticpod.DecodeAll(data)
	if err != nil {
		return nil, err
	}
	from := staticpod.Origin{NodeName: s.config.NodeName, Source: Name, Path: s.config.URL, AllowAPIReferences: s.config.AllowAPIReferences}
	for _, pod := range pods {
		if err := staticpod.Prepare(pod, from); err != nil {
			return nil, fmt.Errorf("pod %s: %w", klog.KObj(pod), err)
		}
	}
	return pods, nil
}

func (s *Source) tell(pods []*v1.Pod) {
	wanted := make(map[model.UID]*v1.Pod, len(pods))
	names := map[string]bool{}
	for _, pod := range pods {
		name := pod.Namespace + "/" + pod.Name
		if names[name] {
			s.deps.Logger.Error(nil, "Two pods of the URL have one name, using the first", "pod", name)
			continue
		}
		names[name] = true
		seen := time.Now().Format(time.RFC3339Nano)
		if old := s.sent[pod.UID]; old != nil {
			seen = old.Annotations[podchange.ConfigSeen]
			podchange.Mark(&pod.ObjectMeta, Name, seen)
			if podchange.StatusOnly(old, pod) {
				pod = old
			}
		}
		podchange.Mark(&pod.ObjectMeta, Name, seen)
		wanted[pod.UID] = pod
	}
	for uid := range s.sent {
		if wanted[uid] == nil {
			s.deps.Pods.Tell(podsmsg.Removed{Source: Name, UID: uid})
		}
	}
	for uid, pod := range wanted {
		if s.sent[uid] != pod {
			s.deps.Pods.Tell(podsmsg.Assigned{Source: Name, Pod: pod})
		}
	}
	s.sent = wanted
	if !s.synced {
		s.synced = true
		s.deps.Pods.Tell(podsmsg.SourceSynced{Source: Name})
	}
}
