package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/troupe-dev/troupe/server/auth"
)

// reviews is an API server that answers reviews: token "good" is the user reader, and allowed says who may what.
type reviews struct {
	client kubernetes.Interface
	mu     sync.Mutex
	asked  []string
	tokens int
}

func newReviews(t *testing.T, allowed map[string][]string) *reviews {
	t.Helper()
	r := &reviews{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", func(w http.ResponseWriter, q *http.Request) {
		var tr authenticationv1.TokenReview
		if err := json.NewDecoder(q.Body).Decode(&tr); err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.tokens++
		r.mu.Unlock()
		if tr.Spec.Token == "good" {
			tr.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "reader"}}
		}
		reply(w, tr)
	})
	mux.HandleFunc("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", func(w http.ResponseWriter, q *http.Request) {
		var sar authorizationv1.SubjectAccessReview
		if err := json.NewDecoder(q.Body).Decode(&sar); err != nil {
			t.Error(err)
		}
		at := sar.Spec.ResourceAttributes
		what := at.Verb + " " + at.Resource + "/" + at.Subresource + " " + at.Name
		r.mu.Lock()
		r.asked = append(r.asked, sar.Spec.User+" "+what)
		r.mu.Unlock()
		sar.Status.Allowed = slices.Contains(allowed[sar.Spec.User], what)
		reply(w, sar)
	})
	api := httptest.NewServer(mux)
	t.Cleanup(api.Close)
	var err error
	cfg := &rest.Config{Host: api.URL, QPS: -1}
	cfg.ContentType = "application/json"
	if r.client, err = kubernetes.NewForConfig(cfg); err != nil {
		t.Fatal(err)
	}
	return r
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(v)
}

func (r *reviews) questions() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.asked
	r.asked = nil
	return q
}

func TestWebhookAuth(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	api := newReviews(t, map[string][]string{
		"admin":  {"get nodes/proxy node-1", "create nodes/proxy node-1"},
		"reader": {"get nodes/pods node-1", "get nodes/metrics node-1"},
	})
	r := start(t, func(d *Deps, c *Config) {
		d.Reviews = auth.Deps{Tokens: api.client.AuthenticationV1(), Access: api.client.AuthorizationV1()}
		c.Auth = auth.Config{NodeName: "node-1", ClientCAFile: ca.file, WebhookTokens: true, TokenTTL: 2 * time.Minute,
			Mode: auth.Webhook, AllowTTL: 5 * time.Minute, DenyTTL: 30 * time.Second}
	})
	admin, stranger, forged, none := ca.client(t, "admin", "system:masters"), ca.client(t, "stranger"), other.client(t, "admin"), ca.client(t, "")

	if code, body := do(t, none, "GET", r.url("/pods")); code != 401 || body != "Unauthorized" {
		t.Errorf("no credentials: %d %q", code, body)
	}
	if code, body := do(t, forged, "GET", r.url("/pods")); code != 401 || body != "Unauthorized" {
		t.Errorf("certificate of another CA: %d %q", code, body)
	}
	if code, _ := do(t, none, "GET", r.url("/pods"), "Authorization", "Bearer bad"); code != 401 {
		t.Errorf("bad token: %d", code)
	}
	api.questions()

	// Fine permissions first, then proxy; one that is allowed is enough.
	if code, _ := do(t, admin, "GET", r.url("/pods")); code != 200 {
		t.Errorf("admin reads pods: %d", code)
	}
	if q := api.questions(); !slices.Equal(q, []string{"admin get nodes/pods node-1", "admin get nodes/proxy node-1"}) {
		t.Errorf("questions %q", q)
	}
	if code, _ := do(t, none, "GET", r.url("/pods"), "Authorization", "Bearer good"); code != 200 {
		t.Errorf("reader reads pods with a token: %d", code)
	}
	if code, _ := do(t, none, "GET", r.url("/metrics"), "Authorization", "Bearer good"); code != 200 {
		t.Errorf("reader reads metrics: %d", code)
	}
	if code, body := do(t, none, "GET", r.url("/explain/default/web"), "Authorization", "Bearer good"); code != 403 ||
		body != "Forbidden (user=reader, verb=get, resource=nodes, subresource(s)=[proxy])\n" {
		t.Errorf("reader asks for an explanation: %d %q", code, body)
	}
	if code, body := do(t, stranger, "GET", r.url("/healthz")); code != 403 ||
		body != "Forbidden (user=stranger, verb=get, resource=nodes, subresource(s)=[healthz proxy])\n" {
		t.Errorf("stranger: %d %q", code, body)
	}

	// Answers are cached.
	api.questions()
	do(t, none, "GET", r.url("/pods"), "Authorization", "Bearer good")
	if q := api.questions(); len(q) != 0 {
		t.Errorf("asked again: %q", q)
	}
	if api.tokens != 2 {
		t.Errorf("%d token reviews for one good and one bad token, want 2", api.tokens)
	}
}

// The actors are for nobody without credentials, even where everything else is open to all.
func TestInspectionIsNeverAnonymous(t *testing.T) {
	ca := newAuthority(t, "ca")
	r := start(t, func(_ *Deps, c *Config) { c.Auth.ClientCAFile = ca.file; c.ReadOnly = "127.0.0.1:0" })
	anonymous, known := ca.client(t, ""), ca.client(t, "someone")
	if code, _ := do(t, anonymous, "GET", r.url("/pods")); code != 200 {
		t.Fatalf("anonymous reads pods: %d", code)
	}
	for _, path := range []string{"/actors", "/actors/", "/actors/ui", "/explain/default/web"} {
		if code, body := do(t, anonymous, "GET", r.url(path)); code != 401 || body != "Unauthorized" {
			t.Errorf("anonymous reads %s: %d %q", path, code, body)
		}
		if code, _ := do(t, known, "GET", r.url(path)); code != 200 {
			t.Errorf("someone reads %s: %d", path, code)
		}
		if code, _ := do(t, http.DefaultClient, "GET", "http://"+r.Addr("readonly")+path); code != 404 {
			t.Errorf("read-only port serves %s: %d", path, code)
		}
	}
}

// No spelling of a path reaches a handler with the permission of another one.
func TestPathsCannotDisguise(t *testing.T) {
	ca := newAuthority(t, "ca")
	api := newReviews(t, map[string][]string{"metrics": {"get nodes/metrics node-1"}})
	r := start(t, func(d *Deps, c *Config) {
		d.Reviews = auth.Deps{Access: api.client.AuthorizationV1()}
		c.Auth = auth.Config{NodeName: "node-1", ClientCAFile: ca.file, Mode: auth.Webhook}
	})
	c := ca.client(t, "metrics")
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, path := range []string{"/metrics/../explain/default/web", "/metrics/%2e%2e/explain/default/web", "/metrics%2f..%2fexplain/default/web", "//explain/default/web", "/metrics/..;/actors"} {
		if code, body := do(t, c, "GET", r.url(path)); code == 200 || strings.Contains(body, "default/web is") {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
}

// A changed client CA counts without a restart.
func TestClientCAReload(t *testing.T) {
	old, fresh := newAuthority(t, "old"), newAuthority(t, "fresh")
	r := start(t, func(_ *Deps, c *Config) { c.Auth.ClientCAFile = old.file; c.Auth.Anonymous = false })
	if code, _ := do(t, fresh.client(t, "x"), "GET", r.url("/pods")); code != 401 {
		t.Fatalf("a stranger's certificate: %d", code)
	}
	b, err := os.ReadFile(fresh.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old.file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c := fresh.client(t, "x")
	deadline := time.Now().Add(10 * time.Second)
	for {
		if code, _ := do(t, c, "GET", r.url("/pods")); code == 200 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the new CA was not read")
		}
		c.CloseIdleConnections()
	}
}

func TestSubresources(t *testing.T) {
	for path, want := range map[string]string{
		"/pods": "pods,proxy", "/pods/": "pods,proxy", "/podsx": "proxy", "/runningpods/": "pods,proxy", "/healthz/syncloop": "healthz,proxy",
		"/configz": "configz,proxy", "/stats/summary": "stats", "/metrics": "metrics", "/metrics/probes": "metrics", "/logs/": "log",
		"/checkpoint/a/b/c": "checkpoint", "/statusz": "statusz", "/flagz": "configz", "/containerLogs/a/b/c": "proxy", "/exec/a/b/c": "proxy",
		"/actors": "proxy", "/explain/a/b": "proxy", "/": "proxy", "": "proxy",
	} {
		if got := strings.Join(auth.Subresources(path), ","); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
