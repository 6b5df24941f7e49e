package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/podsmsg"
)

func one(name, image string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q},"spec":{"containers":[{"name":"c","image":%q}]}}`, name, image)
}

func several(pods ...string) string {
	return `{"apiVersion":"v1","kind":"PodList","items":[` + strings.Join(pods, ",") + `]}`
}

// answers is the server: one answer for each request, in order; the last one stays.
type answers struct {
	mu     sync.Mutex
	code   int
	body   string
	err    error
	header http.Header
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.header = r.Header
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{StatusCode: a.code, Status: fmt.Sprint(a.code), Body: io.NopCloser(strings.NewReader(a.body))}, nil
}

func TestPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		server := &answers{err: errors.New("refused")}
		s := New(Deps{Transport: server, Logger: klog.Background(), Pods: messages.SinkFunc(func(msg any) {
			switch m := msg.(type) {
			case podsmsg.Assigned:
				got = append(got, "+"+m.Pod.Name+" "+m.Pod.Spec.Containers[0].Image)
				if m.Source != "http" || m.Pod.Annotations["kubernetes.io/config.source"] != "http" || len(m.Pod.Spec.Tolerations) != 0 {
					t.Errorf("%s %v %v", m.Source, m.Pod.Annotations, m.Pod.Spec.Tolerations)
				}
			case podsmsg.Removed:
				got = append(got, "-")
			case podsmsg.SourceSynced:
				got = append(got, "synced")
			}
		})}, Config{URL: "http://manifests.example/", Header: http.Header{"X-Key": {"k"}}, NodeName: "n"})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.Run(ctx); close(ended) }()
		expect := func(what, want string) {
			t.Helper()
			synctest.Wait()
			slices.Sort(got)
			if text := strings.Join(got, ", "); text != want {
				t.Errorf("%s: %q, want %q", what, text, want)
			}
			got = nil
		}
		step := func(what string, code int, body, want string) {
			t.Helper()
			server.mu.Lock()
			server.err, server.code, server.body = nil, code, body
			server.mu.Unlock()
			time.Sleep(DefaultPeriod)
			expect(what, want)
		}
		time.Sleep(time.Second) // between two requests
		expect("unreachable", "")
		step("first", 200, one("a", "1"), "+a-n 1, synced")
		if server.header.Get("X-Key") != "k" {
			t.Error("the header is not sent")
		}
		step("same", 200, one("a", "1"), "")
		step("formatted", 200, " "+one("a", "1"), "")
		step("error", 500, one("b", "1"), "")
		step("nonsense", 200, "<html>", "")
		step("two", 200, several(one("a", "1"), one("b", "1")), "+b-n 1")
		step("one of them wrong", 200, several(one("a", "2"), `{"metadata":{"name":"x"}}`), "")
		step("changed", 200, several(one("a", "2"), one("b", "1")), "+a-n 2, -")
		step("one name twice", 200, several(one("b", "1"), one("b", "2")), "-")
		s.Resend()
		expect("told again", "+b-n 1, synced")
		step("nothing", 200, "", "-")
		step("again", 200, several(one("b", "1"), one("b", "2")), "+b-n 1")
		cancel()
		<-ended
	})
}

func TestEmptyAnswerCompletesTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		synced := false
		s := New(Deps{Transport: &answers{code: 200}, Logger: klog.Background(), Pods: messages.SinkFunc(func(any) { synced = true })}, Config{URL: "http://x/", NodeName: "n"})
		if err := s.read(t.Context()); err == nil || !synced {
			t.Errorf("%v, synced %v", err, synced)
		}
	})
}
