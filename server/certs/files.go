// Package certs gives the node API its serving certificate: the configured files, a self-signed pair in the
// certificate folder, or whatever a rotating source holds; all of them current without a restart.
package certs

import (
	"fmt"
	"path/filepath"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// SelfSigned returns the pair kubelet.crt and kubelet.key in dir. It makes them for the host when they are not there
// both; an existing pair is kept, so that clients that pinned it go on.
func SelfSigned(dir, host string) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(dir, "kubelet.crt"), filepath.Join(dir, "kubelet.key")
	ok, err := certutil.CanReadCertAndKey(certFile, keyFile)
	if err != nil {
		return "", "", fmt.Errorf("read serving certificate in %s: %w", dir, err)
	}
	if ok {
		return certFile, keyFile, nil
	}
	cert, key, err := certutil.GenerateSelfSignedCertKey(host, nil, nil)
	if err != nil {
		return "", "", fmt.Errorf("generate self-signed certificate for %s: %w", host, err)
	}
	if err := certutil.WriteCert(certFile, cert); err != nil {
		return "", "", fmt.Errorf("write %s: %w", certFile, err)
	}
	if err := keyutil.WriteKey(keyFile, key); err != nil {
		return "", "", fmt.Errorf("write %s: %w", keyFile, err)
	}
	return certFile, keyFile, nil
}
