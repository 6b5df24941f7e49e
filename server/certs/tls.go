package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync"

	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/klog/v2"
)

// Config chooses the serving certificate and the limits of TLS. Its fields are those of KubeletConfiguration.
type Config struct {
	// CertFile and KeyFile are PEM files, both or none. With none, and no Rotating, a self-signed pair is kept in
	// SelfSignedDir for Host.
	CertFile, KeyFile string
	SelfSignedDir     string
	Host              string
	// CipherSuites and CurvePreferences are names or numbers as in the configuration; empty is Go's choice. MinVersion
	// is VersionTLS12 and so on; empty is TLS 1.2.
	CipherSuites     []string
	CurvePreferences []int32
	MinVersion       string
	// Rotating gives the certificate that a rotation through the API server holds; it wins over files. It may return
	// nil as long as there is none.
	Rotating func() *tls.Certificate
	// ClientCA is the bundle announced to clients; nil asks for no client certificate.
	ClientCA dynamiccertificates.CAContentProvider
	// ReloadFiles serves a changed CertFile without a restart.
	ReloadFiles bool
}

// Serving is a serving certificate that stays current while Run runs. It is safe for concurrent use.
type Serving struct {
	base       *tls.Config
	controller *dynamiccertificates.DynamicServingCertificateController
	files      *dynamiccertificates.DynamicCertKeyPairContent
}

// New reads or makes the certificate and checks the limits.
func New(log klog.Logger, c Config) (*Serving, error) {
	base, err := limits(log, c)
	if err != nil {
		return nil, err
	}
	if c.ClientCA != nil {
		// Asked for, not verified here: authentication verifies, so that a bad certificate is a 401 and not a
		// failed handshake.
		base.ClientAuth = tls.RequestClientCert
	}
	s := &Serving{base: base}
	if c.Rotating != nil {
		base.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if cert := c.Rotating(); cert != nil {
				return cert, nil
			}
			return nil, errors.New("no serving certificate available for the kubelet")
		}
		if c.ClientCA != nil {
			// Without files the controller would only carry the names of the client CAs.
			s.controller = dynamiccertificates.NewDynamicServingCertificateController(base, c.ClientCA, nil, nil, nil)
		}
	} else if err := s.useFiles(c); err != nil {
		return nil, err
	}
	if s.controller != nil {
		// Listeners are added before anything runs: the providers keep them without a lock.
		if s.files != nil {
			s.files.AddListener(s.controller)
		}
		if c.ClientCA != nil {
			c.ClientCA.AddListener(s.controller)
		}
		if err := s.controller.RunOnce(); err != nil {
			return nil, fmt.Errorf("load serving certificate: %w", err)
		}
	}
	return s, nil
}

// useFiles takes the certificate from the configured files or from the self-signed ones.
func (s *Serving) useFiles(c Config) error {
	certFile, keyFile := c.CertFile, c.KeyFile
	if certFile == "" && keyFile == "" {
		var err error
		if certFile, keyFile, err = SelfSigned(c.SelfSignedDir, c.Host); err != nil {
			return err
		}
	}
	var pair dynamiccertificates.CertKeyContentProvider
	var err error
	if c.ReloadFiles {
		s.files, err = dynamiccertificates.NewDynamicServingContentFromFiles("kubelet-server-cert-files", certFile, keyFile)
		pair = s.files
	} else {
		pair, err = static(certFile, keyFile)
	}
	if err != nil {
		return fmt.Errorf("load serving certificate %s: %w", certFile, err)
	}
	s.controller = dynamiccertificates.NewDynamicServingCertificateController(s.base, c.ClientCA, pair, nil, nil)
	return nil
}

// static reads a pair once.
func static(certFile, keyFile string) (dynamiccertificates.CertKeyContentProvider, error) {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	return dynamiccertificates.NewStaticCertKeyContent("kubelet-server-cert-files", cert, key)
}

// Run keeps the certificate and the announced client CAs current until the context ends. It returns when everything it
// started has ended.
func (s *Serving) Run(ctx context.Context) {
	var wg sync.WaitGroup
	if s.files != nil {
		wg.Go(func() { s.files.Run(ctx, 1) })
	}
	if s.controller != nil {
		wg.Go(func() { s.controller.Run(1, ctx.Done()) })
	}
	wg.Wait()
	<-ctx.Done()
}

// Listener returns the configuration for a TLS listener.
func (s *Serving) Listener() *tls.Config {
	c := s.base.Clone()
	if s.controller != nil {
		c.GetConfigForClient = s.controller.GetConfigForClient
	}
	return c
}

// limits translates the names of the configuration.
func limits(log klog.Logger, c Config) (*tls.Config, error) {
	suites, err := cliflag.TLSCipherSuites(c.CipherSuites)
	if err != nil {
		return nil, fmt.Errorf("tlsCipherSuites: %w", err)
	}
	for name, id := range cliflag.InsecureTLSCiphers() {
		for _, s := range suites {
			if s == id {
				log.Info("Use of insecure cipher detected.", "cipher", name)
			}
		}
	}
	minVersion, err := cliflag.TLSVersion(c.MinVersion)
	if err != nil {
		return nil, fmt.Errorf("tlsMinVersion: %w", err)
	}
	if minVersion == tls.VersionTLS13 && len(suites) > 0 {
		log.Info("Warning: TLS 1.3 cipher suites are not configurable, ignoring --tls-cipher-suites")
	}
	curves, err := cliflag.TLSCurvePreferences(c.CurvePreferences)
	if err != nil {
		return nil, fmt.Errorf("tlsCurvePreferences: %w", err)
	}
	if len(suites) == 0 {
		suites = nil
	}
	return &tls.Config{MinVersion: minVersion, CipherSuites: suites, CurvePreferences: curves,
		NextProtos: []string{"h2", "http/1.1"}}, nil
}
