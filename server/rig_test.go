package server

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/server/auth"
	"github.com/troupe-dev/troupe/server/certs"
	"github.com/troupe-dev/troupe/server/health"
	"github.com/troupe-dev/troupe/server/metrics"
	"github.com/troupe-dev/troupe/supervisor/registry"
	"github.com/troupe-dev/troupe/supervisor/runner"
)

// authority is a certificate authority of a test.
type authority struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(t.TempDir(), name+".crt")}
	a.key, a.cert = certify(t, name, nil, nil)
	if err := os.WriteFile(a.file, pemOf("CERTIFICATE", a.cert.Raw), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// certify makes a certificate, signed by a or by itself.
func certify(t *testing.T, name string, groups []string, a *authority) (*rsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name, Organization: groups},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: a == nil,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := tpl, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

// client makes an HTTPS client with a certificate of that name; "" for none. HTTP/1.1, as for streams.
func (a *authority) client(t *testing.T, name string, groups ...string) *http.Client {
	t.Helper()
	c := &tls.Config{InsecureSkipVerify: true}
	if name != "" {
		key, cert := certify(t, name, groups, a)
		c.Certificates = []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	}
	tr := &http.Transport{TLSClientConfig: c}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// pods is a fixed set of pods.
type pods []*v1.Pod

func (p pods) List() []*v1.Pod { return p }

func (p pods) Get(namespace, name string) (*v1.Pod, bool) {
	for _, x := range p {
		if x.Namespace == namespace && x.Name == name {
			return x, true
		}
	}
	return nil, false
}

func (p pods) ByUID(uid types.UID) (*v1.Pod, bool) {
	for _, x := range p {
		if x.UID == uid {
			return x, true
		}
	}
	return nil, false
}

// web is a pod with a running container "app" and a waiting one "late".
func web() *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "uid-web"},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "app", Image: "nginx"}, {Name: "late", Image: "nginx"}}},
		Status: v1.PodStatus{Phase: v1.PodRunning, ContainerStatuses: []v1.ContainerStatus{
			{Name: "app", ContainerID: "containerd://c1", State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}},
			{Name: "late", State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ContainerCreating"}}},
		}},
	}
}

// fakeRuntime answers what the node API asks; every other call panics.
type fakeRuntime struct {
	cri.Runtime
	logPath string
	streams streaming.Server
	ended   func() bool
}

func (f *fakeRuntime) ContainerStatus(_ context.Context, id model.ContainerID) (model.Container, error) {
	st := model.ContainerRunning
	if f.ended != nil && f.ended() {
		st = model.ContainerExited
	}
	return model.Container{ID: id, State: st, LogPath: f.logPath}, nil
}

func (f *fakeRuntime) ListContainers(context.Context, cri.ContainerFilter) ([]model.Container, error) {
	return []model.Container{{ID: "c1", UID: "uid-web", PodName: "web", Namespace: "default", Name: "app", Image: "nginx", State: model.ContainerRunning},
		{ID: "c0", UID: "uid-old", PodName: "old", Namespace: "default", Name: "app", State: model.ContainerExited}}, nil
}

func (f *fakeRuntime) ListPodSandbox(context.Context, cri.SandboxFilter) ([]model.Sandbox, error) {
	return []model.Sandbox{{ID: "s1", UID: "uid-web", Name: "web", Namespace: "default"}}, nil
}

func (f *fakeRuntime) ExecSync(_ context.Context, _ model.ContainerID, command []string, _ time.Duration) (cri.ExecResult, error) {
	if command[0] == "false" {
		return cri.ExecResult{ExitCode: 3, Stderr: []byte("no")}, nil
	}
	return cri.ExecResult{Stdout: []byte(strings.Join(command, "+"))}, nil
}

func (f *fakeRuntime) CheckpointContainer(_ context.Context, id model.ContainerID, location string, timeout time.Duration) error {
	if id != "c1" || timeout != 9*time.Second || !strings.Contains(location, "checkpoints/checkpoint-web_default-app-") {
		return errors.New("unexpected: " + string(id) + " " + location)
	}
	return nil
}

// rig is a running server.
type rig struct {
	*Server
	registry *registry.Registry
	runtime  *fakeRuntime
	stop     func() error
}

// start runs a server until the test ends or stop is called.
func start(t *testing.T, change func(*Deps, *Config)) *rig {
	t.Helper()
	r := &rig{registry: registry.New(), runtime: &fakeRuntime{}}
	d := Deps{
		Log: klog.Background(), Pods: pods{web()}, Runtime: r.runtime, Actors: r.registry, Effects: runner.New(runner.Config{}),
		Metrics: metrics.New("node-1", 1), Health: []health.Check{{Name: "syncloop", Check: func() error { return nil }}},
	}
	c := Config{
		Secure: "127.0.0.1:0", EnableDebuggingHandlers: true, EnableProfilingHandler: true, EnableDebugFlagsHandler: true,
		Auth:          auth.Config{NodeName: "node-1", Mode: auth.AlwaysAllow, Anonymous: true},
		CheckpointDir: "checkpoints",
		TLS:           certs.Config{SelfSignedDir: t.TempDir(), Host: "node-1"},
	}
	if change != nil {
		change(&d, &c)
	}
	s, err := New(d, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	r.Server = s
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Second):
			return errors.New("Run did not return")
		}
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) url(path string) string { return "https://" + r.Addr("https") + path }

// do asks and returns the status code and the body.
func do(t *testing.T, c *http.Client, method, url string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}
