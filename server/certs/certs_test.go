package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"testing"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/klog/v2"
)

// served connects as a client and returns the certificate that it was shown.
func served(t *testing.T, s *Serving, client *tls.Config) (*x509.Certificate, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.Listener())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		if c, err := l.Accept(); err == nil {
			_ = c.(*tls.Conn).HandshakeContext(context.Background())
			_ = c.Close()
		}
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client.InsecureSkipVerify = true
	c := tls.Client(raw, client)
	defer func() { _ = c.Close() }()
	if err := c.HandshakeContext(t.Context()); err != nil {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

// A self-signed pair is made once, is for the host, and is for root's eyes.
func TestSelfSigned(t *testing.T) {
	dir := t.TempDir()
	cert, key, err := SelfSigned(dir, "node-1")
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(key); err != nil || st.Mode().Perm()&0o077 != 0 {
		t.Errorf("key: %v %v", st.Mode(), err)
	}
	before, _ := os.ReadFile(cert)
	if _, _, err := SelfSigned(dir, "node-1"); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(cert); string(after) != string(before) {
		t.Error("an existing pair was replaced")
	}
	s, err := New(klog.Background(), Config{SelfSignedDir: dir, Host: "node-1"})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := served(t, s, &tls.Config{}); err != nil || c.VerifyHostname("node-1") != nil {
		t.Errorf("%v", err)
	}
}

func TestLimits(t *testing.T) {
	s, err := New(klog.Background(), Config{SelfSignedDir: t.TempDir(), Host: "n", MinVersion: "VersionTLS13"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := served(t, s, &tls.Config{MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
	for name, c := range map[string]Config{
		"suite": {CipherSuites: []string{"none"}}, "version": {MinVersion: "1.9"}, "curve": {CurvePreferences: []int32{-1}},
		"file": {CertFile: "/nowhere/a", KeyFile: "/nowhere/b"},
	} {
		c.SelfSignedDir = t.TempDir()
		if _, err := New(klog.Background(), c); err == nil {
			t.Errorf("%s: a wrong value was accepted", name)
		}
	}
}

// A changed file is served without a restart, and Run ends with its context.
func TestReload(t *testing.T) {
	cert, key, err := SelfSigned(t.TempDir(), "old")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(klog.Background(), Config{CertFile: cert, KeyFile: key, ReloadFiles: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	c, k, err := certutil.GenerateSelfSignedCertKey("new", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, b := range map[string][]byte{cert: c, key: k} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(15 * time.Second)
	for {
		got, err := served(t, s, &tls.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if got.VerifyHostname("new") == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not served")
		}
	}
	cancel()
	<-done
}

// A rotated certificate wins over files, and its absence is no crash.
func TestRotating(t *testing.T) {
	cert, key, err := SelfSigned(t.TempDir(), "rotated")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	var now *tls.Certificate
	s, err := New(klog.Background(), Config{Rotating: func() *tls.Certificate { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := served(t, s, &tls.Config{}); err == nil {
		t.Error("a handshake without a certificate")
	}
	now = &pair
	if c, err := served(t, s, &tls.Config{}); err != nil || c.VerifyHostname("rotated") != nil {
		t.Errorf("%v", err)
	}
}
