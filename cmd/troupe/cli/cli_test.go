package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/cmd/troupe/kubeletconfig"
	"github.com/troupe-dev/troupe/cmd/troupe/kubeletflags"
	"github.com/troupe-dev/troupe/supervisor/registry"
)

func run(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	var out, err bytes.Buffer
	code := Main(args, &out, &err)
	return code, out.String(), err.String()
}

func TestMainByName(t *testing.T) {
	for _, c := range []struct {
		args      []string
		code      int
		out, errs string
	}{
		{[]string{"/usr/bin/kubelet", "--version"}, 0, "Kubernetes v1.36.3+troupe.", ""},
		{[]string{"kubelet", "--version=raw"}, 0, `"kubeletVersion"`, ""},
		{[]string{"troupe", "node", "--version"}, 0, "Kubernetes v1.36.3+troupe.", ""},
		{[]string{"troupe", "--version"}, 0, "Kubernetes v1.36.3+troupe.", ""},
		{[]string{"troupe", "version"}, 0, "Kubernetes v1.36.3+troupe.", ""},
		{[]string{"troupe", "version", "-o", "json"}, 0, `"platform"`, ""},
		{[]string{"troupe", "version", "-o", "yaml"}, 1, "", `"yaml" is not json`},
		{[]string{"kubelet", "--help"}, 0, "kubelet [flags]", ""},
		{[]string{"troupe", "node", "--help"}, 0, "troupe node [flags]", ""},
		{[]string{"troupe", "help", "node"}, 0, "troupe node [flags]", ""},
		{[]string{"troupe", "--help"}, 0, "Looking inside:", ""},
		{[]string{"kubelet", "--kubconfig=x"}, 1, "", "kubelet: unknown flag --kubconfig; did you mean --kubeconfig?"},
		{[]string{"troupe", "nod"}, 1, "", "Did you mean this?"},
		{[]string{"troupe", "explain"}, 1, "", "accepts 1 arg"},
		{[]string{"troupe", "explain", "a/b/c"}, 1, "", "is not a pod"},
		{[]string{"troupe", "tree", "--socket", "/does/not/exist"}, 1, "", "no agent answers at /does/not/exist"},
	} {
		code, out, errs := run(t, c.args...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) || (c.errs == "") != (errs == "") {
			t.Errorf("%v: code %d\nout: %.300s\nerr: %.300s", c.args, code, out, errs)
		}
	}
}

func TestNodeFlagsComplete(t *testing.T) {
	_, out, _ := run(t, "troupe", "__complete", "node", "--node-st")
	if !strings.Contains(out, "--node-status-max-images") || !strings.Contains(out, "--node-status-update-frequency") {
		t.Errorf("completion gives %q", out)
	}
}

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func sample() registry.Tree {
	ago := func(d time.Duration) time.Time { return at.Add(-d) }
	held, until := ago(90*time.Second), at.Add(20*time.Second)
	return registry.Tree{At: at, Actors: 6, Roots: []registry.Node{
		{Path: "/images", Name: "images", Kind: "images", Started: ago(3 * time.Hour)},
		{Path: "/pods", Name: "pods", Kind: "pods", Started: ago(3 * time.Hour), Mailbox: 4, Children: []registry.Node{
			{Path: "/pods/0123456789", Name: "0123456789", Kind: "pod", State: "Running", Started: ago(5 * time.Minute), Detail: map[string]any{"namespace": "default", "name": "web"},
				Children: []registry.Node{
					{Path: "/pods/0123456789/init", Name: "init", Kind: "container", State: "Done", Started: ago(4 * time.Minute)},
					{Path: "/pods/0123456789/nginx", Name: "nginx", Kind: "container", State: "Up", Started: ago(30 * time.Second), Restarts: 2, InHand: "containermsg.Look", Since: &held},
				}},
			{Path: "/pods/abc", Name: "abc", Kind: "pod", Started: ago(5 * time.Second), Panics: 3, QuarantinedUntil: &until},
		}},
	}}
}

func TestWriteTree(t *testing.T) {
	var b bytes.Buffer
	if err := writeTree(&b, sample(), false); err != nil {
		t.Fatal(err)
	}
	want := strings.TrimLeft(`
ACTOR                            KIND       STATE    AGE  RESTARTS  MAILBOX  NOW
/images                          images              3h
/pods                            pods                3h             4
├─ default/web (01234567)        pod        Running  5m
│  ├─ init                       container  Done     4m
│  └─ nginx                      container  Up       30s  2                  containermsg.Look for 90s
└─ abc                           pod                 5s                      quarantined after 3 panics, again in 20s
`, "\n")
	// The first column is as wide as its longest cell.
	squeeze := func(s string) string {
		var out []string
		for line := range strings.Lines(s) {
			out = append(out, strings.Join(strings.Fields(line), " "))
		}
		return strings.Join(out, "\n")
	}
	if squeeze(b.String()) != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	column := -1
	for line := range strings.Lines(b.String()) {
		for i, r := range []rune(line) {
			if (r == 'K' || r == 'i' || r == 'p' || r == 'c') && i > 3 && []rune(line)[i-1] == ' ' && []rune(line)[i-2] == ' ' {
				if column == -1 {
					column = i
				}
				if i != column {
					t.Errorf("the second column is not aligned in %q", line)
				}
				break
			}
		}
	}
	b.Reset()
	if err := writeTree(&b, sample(), true); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "\x1b[31mquarantined") || !strings.Contains(b.String(), "\x1b[32mRunning") {
		t.Errorf("colours are missing: %q", b.String())
	}
}

// The commands talk to a real server on a real socket.
func TestTreeAndExplainOverTheSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "t.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /actors", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(sample()) })
	mux.HandleFunc("GET /explain/{ns}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("pod") != "web" {
			http.Error(w, "pod does not exist", http.StatusNotFound)
			return
		}
		if r.URL.Query().Get("format") == "text" {
			_, _ = w.Write([]byte(r.PathValue("ns") + "/web waits.\n\nstage Starting\n"))
			return
		}
		_, _ = w.Write([]byte(`{"sentence":"waits"}`))
	})
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	defer server.Close()

	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"tree"}, 0, "default/web (01234567)"},
		{[]string{"tree", "/pods/0123456789"}, 0, "nginx"},
		{[]string{"tree", "pods/0123456789/nginx"}, 0, "containermsg.Look"},
		{[]string{"tree", "/nope"}, 1, "no actor /nope"},
		{[]string{"tree", "-o", "json"}, 0, `"actors": 6`},
		{[]string{"tree", "/pods/abc", "-o", "json"}, 0, `"panics": 3`},
		{[]string{"explain", "web"}, 0, "default/web waits.\n\nstage Starting\n"},
		{[]string{"explain", "web", "-n", "other"}, 0, "other/web waits."},
		{[]string{"explain", "kube-system/web"}, 0, "kube-system/web waits."},
		{[]string{"explain", "web", "-o", "json"}, 0, `"sentence": "waits"`},
		{[]string{"explain", "nope"}, 1, "the agent answers: pod does not exist"},
	} {
		code, out, errs := run(t, append(append([]string{"troupe"}, c.args...), "--socket", socket)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%v: code %d, lacks %q\n%s%s", c.args, code, c.want, out, errs)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 5 * time.Millisecond: "5ms", 119 * time.Second: "119s", 119 * time.Minute: "119m", 47 * time.Hour: "47h", 72 * time.Hour: "3d",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%s) = %s, want %s", d, got, want)
		}
	}
}

func TestSwap(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "swaps")
	for text, want := range map[string]bool{
		"Filename\tType\tSize\tUsed\tPriority\n":                                        false,
		"Filename\tType\tSize\tUsed\tPriority\n/swapfile file\t1048572\t0\t-2\n":        true,
		"Filename\tType\tSize\tUsed\tPriority\n/a file 1 0 -2\n/b partition 1 0 -3\n\n": true,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if on, err := swapIsOn(file); err != nil || on != want {
			t.Errorf("%q: %t, %v", text, on, err)
		}
	}
	if on, err := swapIsOn(filepath.Join(dir, "none")); on || err != nil {
		t.Errorf("no table: %t, %v", on, err)
	}
}

func options(t *testing.T, args ...string) NodeOptions {
	t.Helper()
	r, err := kubeletflags.Parse(args, kubeletconfig.Host{})
	if err != nil {
		t.Fatal(err)
	}
	return NodeOptions{Options: r.Options}
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`

func TestClients(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(file, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := newClients(options(t)); c != nil || err != nil {
		t.Errorf("without a kubeconfig: %v, %v", c, err)
	}
	c, err := newClients(options(t, "--kubeconfig", file, "--kube-api-qps=70", "--kube-api-burst=80", "--bootstrap-kubeconfig=/unused"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Config.QPS != 70 || c.Config.Burst != 80 || c.Config.ContentType != "application/vnd.kubernetes.protobuf" || !strings.Contains(c.Config.AcceptContentTypes, "json") {
		t.Errorf("client configuration %+v", c.Config)
	}
	for _, e := range []struct {
		args []string
		want string
	}{
		{[]string{"--kubeconfig", filepath.Join(dir, "none")}, "none"},
		{[]string{"--kubeconfig", filepath.Join(dir, "none"), "--bootstrap-kubeconfig", file}, "is not supported yet"},
		{[]string{"--bootstrap-kubeconfig", file}, "needs --kubeconfig"},
	} {
		if _, err := newClients(options(t, e.args...)); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%v: %v, want %q", e.args, err, e.want)
		}
	}
}

func TestIdentify(t *testing.T) {
	for _, c := range []struct {
		args []string
		name string
		ips  int
		want string
	}{
		{[]string{"--hostname-override=Node1"}, "node1", 0, ""},
		{[]string{"--hostname-override=a", "--node-ip=10.0.0.1"}, "a", 1, ""},
		{[]string{"--hostname-override=a", "--node-ip=10.0.0.1,fd00::1"}, "a", 2, ""},
		{[]string{"--hostname-override=a", "--node-ip=10.0.0.1,10.0.0.2"}, "", 0, "dual-stack pair"},
		{[]string{"--hostname-override=a", "--node-ip=10.0.0.1,::"}, "", 0, "cannot include"},
		{[]string{"--hostname-override=a", "--node-ip=nonsense"}, "a", 0, ""},
	} {
		o := options(t, c.args...)
		err := identify(logr(t), &o)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: %v, want %q", c.args, err, c.want)
			}
			continue
		}
		if err != nil || o.NodeName != c.name || len(o.NodeIPs) != c.ips {
			t.Errorf("%v: %q %v %v", c.args, o.NodeName, o.NodeIPs, err)
		}
	}
}

func TestLockContention(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	ctx, release, err := holdLock(t.Context(), path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Error("opening the lock file does not end the agent")
	}
	if ctx, release, err := holdLock(context.Background(), "", true); err != nil || ctx.Err() != nil {
		t.Errorf("no lock file: %v", err)
	} else {
		release()
	}
}
