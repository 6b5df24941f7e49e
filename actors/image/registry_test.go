package image_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/actors/image"
	"github.com/troupe-dev/troupe/messages/containermsg"
)

// A real registry that wants a user and a password, pulled from the way a runtime does it.
func TestRegistryWithPasswords(t *testing.T) {
	const user, password = "user", "pw-user"
	content := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
			return
		}
		content.ServeHTTP(w, r)
	}))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	private := host + "/team/private:1"
	// request speaks to the registry as a runtime does when it resolves a tag.
	request := func(ctx context.Context, method, body string, auth *runtimeapi.AuthConfig) error {
		req, err := http.NewRequestWithContext(ctx, method, srv.URL+"/v2/team/private/manifests/1", strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		if auth != nil {
			req.SetBasicAuth(auth.Username, auth.Password)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, _ := io.ReadAll(resp.Body)
		if resp.StatusCode/100 != 2 {
			return fmt.Errorf("%s: %s", resp.Status, answer)
		}
		return nil
	}
	index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	if err := request(t.Context(), http.MethodPut, index, &runtimeapi.AuthConfig{Username: user, Password: password}); err != nil {
		t.Fatal(err)
	}

	s := newStore()
	s.pull = func(ctx context.Context, _ string, auth *runtimeapi.AuthConfig) error {
		return request(ctx, http.MethodGet, "", auth)
	}
	nodeDir := t.TempDir()
	in := &inbox{ch: make(chan any, 10)}
	a := system(t, image.Deps{Images: s, Secrets: secrets{
		"ns/good": secret("good", host, user),
		"ns/bad":  secret("bad", host+"/team", "somebody"),
	}}, image.Config{NodeConfigDirs: []string{nodeDir}})
	ask := func(p *v1.Pod) any {
		a.Tell(want(p, private, v1.PullAlways, in))
		select {
		case m := <-in.ch:
			return m
		case <-time.After(30 * time.Second):
			t.Fatal("no answer")
			return nil
		}
	}
	if m, ok := ask(pod("none")).(containermsg.ImageFailed); !ok || m.Reason != "ErrImagePull" || !strings.Contains(m.Message, "UNAUTHORIZED") {
		t.Errorf("without credentials: %+v", m)
	}
	m, ok := ask(pod("bad", "bad")).(containermsg.ImageFailed)
	if !ok || !strings.Contains(m.Message, "UNAUTHORIZED") {
		t.Errorf("with another's: %+v", m)
	}
	if strings.Contains(m.Message, "pw-somebody") {
		t.Error("the password shows in the status")
	}
	if m, ok := ask(pod("good", "bad", "good")).(containermsg.ImageReady); !ok {
		t.Errorf("with the right ones in second place: %+v", m)
	}
	s.mu.Lock()
	last := s.pulls[len(s.pulls)-2:]
	s.mu.Unlock()
	if last[0] != "somebody@"+private || last[1] != user+"@"+private {
		t.Errorf("tried %v", last)
	}
	// The node's own credentials serve every pod, and are read anew for each pull.
	cfg := fmt.Appendf(nil, `{"auths":{%q:{"auth":"dXNlcjpwdy11c2Vy"}}}`, "http://"+host+"/v2/")
	if err := os.WriteFile(filepath.Join(nodeDir, "config.json"), cfg, 0o600); err != nil {
		t.Fatal(err)
	}
	if m, ok := ask(pod("any")).(containermsg.ImageReady); !ok {
		t.Errorf("with the node's: %+v", m)
	}
}
