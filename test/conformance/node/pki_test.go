package node

import (
	"crypto/tls"
	"net"
	"testing"
)

// TestCredentialsAgree shakes hands as the API server and each of its clients do.
func TestCredentialsAgree(t *testing.T) {
	dir := t.TempDir()
	a, err := credentials(dir)
	if err != nil {
		t.Fatal(err)
	}
	serving, err := a.client("apiserver")
	if err != nil {
		t.Fatal(err)
	}
	serving.ClientAuth, serving.ClientCAs = tls.RequireAndVerifyClientCert, serving.RootCAs
	for file, want := range map[string]string{"admin": "system:masters", "node": "system:nodes"} {
		client, err := a.client(file)
		if err != nil {
			t.Fatal(err)
		}
		client.ServerName = "127.0.0.1"
		near, far := net.Pipe()
		done := make(chan error, 1)
		srv := tls.Server(far, serving)
		go func() { done <- srv.Handshake() }()
		if err := tls.Client(near, client).Handshake(); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := <-done; err != nil {
			t.Fatalf("%s: the server: %v", file, err)
		}
		if got := srv.ConnectionState().PeerCertificates[0].Subject.Organization; len(got) != 1 || got[0] != want {
			t.Errorf("%s: groups %q, want %q", file, got, want)
		}
	}
}

func TestOnlyForeignMountsAreDropped(t *testing.T) {
	l := Layout{Cache: "/home/me/.cache/troupe/c", Runtime: "/home/me/.cache/troupe/r", Agent: "/src/troupe/bin/kubelet"}
	for point, keep := range map[string]bool{
		"/": true, "/proc": true, "/sys/fs/cgroup": true, "/dev/shm": true, "/home": true, "/src": true, "/run": true, "/tmp": true,
		"/run/netns/cni-1": false, "/home/me/.cache/other/rootfs": false, "/var/lib/kubelet/pods/1/volumes/x": false, "/procession": false,
	} {
		if got := l.uses(point); got != keep {
			t.Errorf("%s: kept %t, want %t", point, got, keep)
		}
	}
}
