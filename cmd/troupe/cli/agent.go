package cli

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/actors/garbage/garbageplan"
	"github.com/troupe-dev/troupe/actors/root"
	"github.com/troupe-dev/troupe/cmd/troupe/compose"
	"github.com/troupe-dev/troupe/cri/remote"
	"github.com/troupe-dev/troupe/server"
	"github.com/troupe-dev/troupe/server/auth"
	"github.com/troupe-dev/troupe/server/certs"
)

// linksDir is where log collectors look for container logs (the kubelet's legacyContainerLogsDir).
const linksDir = "/var/log/containers"

// waitRuntime is how long the start waits for the runtime to say which cgroup driver it uses.
const waitRuntime = 30 * time.Second

// stopTimeout bounds a clean stop.
const stopTimeout = 10 * time.Second

// startAgent composes and runs the tree of actors until ctx ends. It calls
// o.Started once the agent works, and returns nil after a clean stop.
func startAgent(ctx context.Context, o NodeOptions) error {
	logger := klog.FromContext(ctx)
	k := o.Config
	conn, err := remote.Dial(ctx, k.ContainerRuntimeEndpoint, remote.Options{ImageEndpoint: k.ImageServiceEndpoint})
	if err != nil {
		return fmt.Errorf("containerRuntimeEndpoint: %w", err)
	}
	defer conn.Close()
	opts := compose.Options{
		Root: root.Config{
			NodeName: o.NodeName, NodeIPs: o.NodeIPs, Kubelet: k, Version: o.Version.Kubelet, Major: "1.36", RootDir: o.Flags.RootDir, LinksDir: linksDir,
			Labels: o.Flags.NodeLabels, CloudProvider: o.Flags.CloudProvider, SeccompDefault: k.SeccompDefault != nil && *k.SeccompDefault,
			IgnoreEviction: o.Flags.AllocatableIgnoreEviction, RegisterNode: k.RegisterNode == nil || *k.RegisterNode, RegisterTaints: k.RegisterWithTaints,
			ProviderID: k.ProviderID, WaitRuntime: waitRuntime,
			CredentialProviderConfig: o.Flags.ImageCredentialProviderConfig, CredentialProviderBinDir: o.Flags.ImageCredentialProviderBinDir,
			Garbage: &garbageplan.Policy{MinAge: o.Flags.MinimumContainerTTL, MaxPerContainer: int(o.Flags.MaxDeadPerContainer), MaxTotal: int(o.Flags.MaxDeadContainers)},
		},
		Server:  serverConfig(o),
		Runtime: conn,
		Configz: func() any { return k },
		Logger:  logger,
	}
	if c := o.Clients; c != nil {
		opts.Deps.Main, opts.Deps.Events, opts.Deps.Heartbeat = c.Main, c.Events, c.Heartbeat
		opts.Reviews = c.Heartbeat
	}
	a, err := compose.Start(ctx, opts)
	if err != nil {
		return err
	}
	o.Started()
	err = a.Wait(ctx)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if e := a.Stop(stop); err == nil && ctx.Err() == nil {
		err = e
	}
	return err
}

// serverConfig is the node API as the configuration wants it.
func serverConfig(o NodeOptions) server.Config {
	k := o.Config
	c := server.Config{
		Auth: auth.Config{
			NodeName: o.NodeName, ClientCAFile: k.Authentication.X509.ClientCAFile,
			Anonymous: isSet(k.Authentication.Anonymous.Enabled), WebhookTokens: isSet(k.Authentication.Webhook.Enabled),
			TokenTTL: k.Authentication.Webhook.CacheTTL.Duration, Mode: auth.Mode(k.Authorization.Mode),
			AllowTTL: k.Authorization.Webhook.CacheAuthorizedTTL.Duration, DenyTTL: k.Authorization.Webhook.CacheUnauthorizedTTL.Duration,
		},
		TLS: certs.Config{
			CertFile: k.TLSCertFile, KeyFile: k.TLSPrivateKeyFile, SelfSignedDir: o.Flags.CertDir, Host: o.NodeName,
			CipherSuites: k.TLSCipherSuites, MinVersion: k.TLSMinVersion, ReloadFiles: true,
		},
		Socket:                  o.Flags.Socket,
		EnableDebuggingHandlers: isSet(k.EnableDebuggingHandlers), EnableProfilingHandler: isSet(k.EnableProfilingHandler),
		EnableDebugFlagsHandler: isSet(k.EnableDebugFlagsHandler), EnableSystemLogHandler: isSet(k.EnableSystemLogHandler),
		EnableContentionProfiling: k.EnableContentionProfiling,
		SystemLogDir:              "/var/log", CheckpointDir: filepath.Join(o.Flags.RootDir, "checkpoints"), CallTimeout: k.RuntimeRequestTimeout.Duration,
	}
	if isSet(k.EnableServer) {
		c.Secure = net.JoinHostPort(k.Address, strconv.Itoa(int(k.Port)))
	}
	if k.ReadOnlyPort > 0 {
		c.ReadOnly = net.JoinHostPort(k.Address, strconv.Itoa(int(k.ReadOnlyPort)))
	}
	if k.HealthzPort != nil && *k.HealthzPort > 0 {
		c.Healthz = net.JoinHostPort(k.HealthzBindAddress, strconv.Itoa(int(*k.HealthzPort)))
	}
	return c
}

func isSet(b *bool) bool { return b != nil && *b }
