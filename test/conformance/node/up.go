package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"
)

// Node is a running cluster of one node, seen from inside its namespaces.
type Node struct {
	l     Layout
	admin *http.Client
	agent *Server
}

// Up starts the control plane, the container runtime with the images, and the agent, and returns when the node is
// Ready. On error whatever was started ends with the caller's process.
func Up(l Layout, m Images, say func(string, ...any)) (*Node, error) {
	n := &Node{l: l}
	for _, f := range []func() error{
		n.network, makeCgroup, func() error { return configure(l, m) }, func() error { return serve(m.Mirror) },
		func() error { return n.controlPlane(say) },
		func() error { return n.runtime(say) },
	} {
		if err := f(); err != nil {
			return nil, err
		}
	}
	say("starting the agent")
	if err := n.startAgent(); err != nil {
		return nil, err
	}
	return n, n.agent.await(2*time.Minute, n.nodeReady)
}

// network makes the node's interface. There is no route out, and no address of this machine.
func (n *Node) network() error {
	for _, c := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", "node0", "type", "bridge"}, // as a dummy interface; every kernel with containers has bridges
		{"addr", "add", address + "/24", "dev", "node0"},
		{"link", "set", "node0", "up"},
	} {
		cmd := exec.Command("ip", c...)
		cmd.Env = n.l.environment()
		if b, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", c, err, bytes.TrimSpace(b))
		}
	}
	return nil
}

// serve answers at the mirror's address as long as this process lives.
func serve(h http.Handler) error {
	l, err := net.Listen("tcp", mirror)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.Serve(l) }()
	return nil
}

func (n *Node) controlPlane(say func(string, ...any)) error {
	say("starting etcd and the control plane")
	pki := filepath.Join(Home, "pki")
	a, err := credentials(pki)
	if err != nil {
		return err
	}
	conf, err := a.client("admin")
	if err != nil {
		return err
	}
	n.admin = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: conf}}
	const etcd = "http://127.0.0.1:2379"
	if _, err := start(n.l, "etcd", n.l.bin("etcd"), "--data-dir="+Home+"/etcd", "--unsafe-no-fsync", "--listen-client-urls="+etcd,
		"--advertise-client-urls="+etcd, "--listen-peer-urls=http://127.0.0.1:2380"); err != nil {
		return err
	}
	api, err := start(n.l, "kube-apiserver", n.l.bin("kube-apiserver"),
		"--etcd-servers="+etcd, "--bind-address=127.0.0.1", "--secure-port=6443", "--advertise-address="+address, "--cert-dir="+Home+"/apiserver",
		"--tls-cert-file="+pki+"/apiserver.crt", "--tls-private-key-file="+pki+"/apiserver.key", "--client-ca-file="+pki+"/ca.crt",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+pki+"/service-accounts.pub",
		"--service-account-signing-key-file="+pki+"/service-accounts.key", "--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--kubelet-certificate-authority="+pki+"/ca.crt", "--kubelet-client-certificate="+pki+"/apiserver-to-node.crt",
		"--kubelet-client-key="+pki+"/apiserver-to-node.key", "--kubelet-preferred-address-types=InternalIP,Hostname")
	if err != nil {
		return err
	}
	if err := api.await(2*time.Minute, func() error { return n.get("/readyz", nil) }); err != nil {
		return err
	}
	if _, err := start(n.l, "kube-controller-manager", n.l.bin("kube-controller-manager"),
		"--kubeconfig="+pki+"/controllers.kubeconfig", "--bind-address=127.0.0.1", "--leader-elect=false", "--use-service-account-credentials=true",
		"--service-account-private-key-file="+pki+"/service-accounts.key", "--root-ca-file="+pki+"/ca.crt",
		"--cluster-signing-cert-file="+pki+"/ca.crt", "--cluster-signing-key-file="+pki+"/ca.key"); err != nil {
		return err
	}
	if _, err := start(n.l, "kube-scheduler", n.l.bin("kube-scheduler"), "--kubeconfig="+pki+"/scheduler.kubeconfig", "--bind-address=127.0.0.1", "--leader-elect=false"); err != nil {
		return err
	}
	return n.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", map[string]any{
		"metadata": map[string]any{"name": "apiserver-to-node"},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:kubelet-api-admin"},
		"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": nodeClient}},
	})
}

func (n *Node) runtime(say func(string, ...any)) error {
	say("starting the container runtime and loading the images")
	s, err := start(n.l, "containerd", filepath.Join(n.l.Runtime, "bin/containerd"), "--config", Home+"/containerd.toml")
	if err != nil {
		return err
	}
	if err := s.await(time.Minute, listens(socket)); err != nil {
		return err
	}
	ctr := filepath.Join(n.l.Runtime, "bin/ctr")
	if err := s.await(time.Minute, func() error { return exec.Command(ctr, "--address", socket, "version").Run() }); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(n.l.Images, "*.tar"))
	if err != nil {
		return err
	}
	for _, a := range archives {
		if b, err := exec.Command(ctr, "--address", socket, "--namespace", "k8s.io", "images", "import", "--local", a).CombinedOutput(); err != nil {
			return fmt.Errorf("load %s: %w: %s", filepath.Base(a), err, bytes.TrimSpace(b))
		}
	}
	return nil
}

func (n *Node) startAgent() error {
	var err error
	n.agent, err = start(n.l, "agent", n.l.Agent, "--config="+Home+"/agent.yaml", "--kubeconfig="+Home+"/pki/node.kubeconfig",
		"--hostname-override="+Name, "--node-ip="+address, "--v=2")
	return err
}

// nodeReady tells whether the agent has reported the node as Ready.
func (n *Node) nodeReady() error {
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := n.get("/api/v1/nodes/"+Name, &node); err != nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" {
			if c.Status == "True" {
				return nil
			}
			return fmt.Errorf("node not ready: %s", c.Message)
		}
	}
	return fmt.Errorf("the node has no Ready condition")
}

// Agent is the agent's process: it has a new one after each restart.
func (n *Node) Agent() *Server { return n.agent }

// RestartAgent starts the agent again after it has ended.
func (n *Node) RestartAgent() error { return n.startAgent() }

// Environment is that of programs inside.
func (n *Node) Environment() []string { return n.l.environment() }

// StopAgent ends the agent as a service supervisor would. All else ends with the namespaces.
func (n *Node) StopAgent() { n.agent.stop() }

func (n *Node) get(path string, into any) error {
	return n.call(http.MethodGet, path, nil, into)
}

func (n *Node) post(path string, object any) error {
	b, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return n.call(http.MethodPost, path, b, nil)
}

func (n *Node) call(method, path string, body []byte, into any) error {
	req, err := http.NewRequest(method, server+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := n.admin.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, b[:min(len(b), 200)])
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(b, into)
}
