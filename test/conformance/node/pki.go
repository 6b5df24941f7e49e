package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority signs the certificates of one run.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// identity is one client or server of the cluster.
type identity struct {
	file   string
	name   string
	groups []string
	hosts  []string
}

func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "conformance"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &authority{dir: dir, cert: cert, key: key}
	return a, a.write("ca", der, key)
}

// issue writes FILE.crt and FILE.key.
func (a *authority) issue(i identity) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: i.name, Organization: i.groups},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, h := range i.hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return err
	}
	return a.write(i.file, der, key)
}

// signingKey writes the key pair of service account tokens: FILE.key and FILE.pub.
func (a *authority) signingKey(file string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	pub, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	if err := a.pem(file+".pub", "PUBLIC KEY", pub); err != nil {
		return err
	}
	return a.privateKey(file, key)
}

func (a *authority) write(file string, der []byte, key *ecdsa.PrivateKey) error {
	if err := a.pem(file+".crt", "CERTIFICATE", der); err != nil {
		return err
	}
	return a.privateKey(file, key)
}

func (a *authority) privateKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return a.pem(file+".key", "EC PRIVATE KEY", der)
}

func (a *authority) pem(file, kind string, der []byte) error {
	return os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// kubeconfig writes FILE.kubeconfig for an identity that has been issued.
func (a *authority) kubeconfig(file string) error {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: conformance
  cluster: {server: %q, certificate-authority: %s/ca.crt}
users:
- name: %[3]s
  user: {client-certificate: %[2]s/%[3]s.crt, client-key: %[2]s/%[3]s.key}
contexts:
- name: conformance
  context: {cluster: conformance, user: %[3]s}
current-context: conformance
`, server, a.dir, file)
	return os.WriteFile(filepath.Join(a.dir, file+".kubeconfig"), []byte(text), 0o600)
}

// client is the TLS side of an identity that has been issued.
func (a *authority) client(file string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(a.dir, file+".crt"), filepath.Join(a.dir, file+".key"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}, nil
}

// credentials writes all that the cluster's parts need into dir.
func credentials(dir string) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	a, err := newAuthority(dir)
	if err != nil {
		return nil, fmt.Errorf("make the certificate authority: %w", err)
	}
	if err := a.signingKey("service-accounts"); err != nil {
		return nil, fmt.Errorf("make the key of service accounts: %w", err)
	}
	for _, i := range []identity{
		{file: "apiserver", name: "kube-apiserver", hosts: []string{"127.0.0.1", "10.96.0.1", address, "localhost", "kubernetes.default", "kubernetes.default.svc"}},
		{file: "apiserver-to-node", name: nodeClient},
		{file: "admin", name: "admin", groups: []string{"system:masters"}},
		{file: "controllers", name: "system:kube-controller-manager"},
		{file: "scheduler", name: "system:kube-scheduler"},
		{file: "node", name: "system:node:" + Name, groups: []string{"system:nodes"}, hosts: []string{Name, "127.0.0.1", address}},
	} {
		if err := a.issue(i); err != nil {
			return nil, fmt.Errorf("issue the certificate of %s: %w", i.name, err)
		}
		if err := a.kubeconfig(i.file); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// nodeClient is who the API server is when it calls the node.
const nodeClient = "kube-apiserver-kubelet-client"
