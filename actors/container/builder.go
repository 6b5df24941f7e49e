package container

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	mount "k8s.io/mount-utils"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/actors/container/containerplan"
	"github.com/troupe-dev/troupe/actors/container/containerspec"
	"github.com/troupe-dev/troupe/actors/pod/sandboxspec"
	"github.com/troupe-dev/troupe/actors/source/podchange"
	"github.com/troupe-dev/troupe/actors/volume/subpath"
	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
)

// Objects reads what environment variables refer to. A missing object is an IsNotFound error.
type Objects interface {
	ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*v1.Secret, error)
}

// Services lists the services whose addresses become environment variables; an error says that they are not known yet.
type Services interface {
	Services(ctx context.Context) ([]*v1.Service, error)
}

// NodeFacts are what a container's config depends on and what may change while the node runs.
type NodeFacts struct {
	HostIPs     []string
	Allocatable v1.ResourceList
	Limits      containerspec.Node
	// RecursiveReadOnly has the runtime handlers that can make mounts recursively read-only ("" is the default one).
	RecursiveReadOnly map[string]bool
}

// Builder makes and creates containers: it gathers what the config needs from disk, API and runtime.
type Builder struct {
	Runtime  cri.Runtime
	Images   cri.Images
	Objects  Objects
	Services Services // nil without an API server
	Mounter  mount.Interface
	Facts    func() NodeFacts

	RootDir        string
	LogsRoot       string
	ClusterDomain  string
	SeccompDefault bool
	// Fixed lines of an env file: see envfile.go.

	users imageUsers
}

// CreateInput is one create.
type CreateInput struct {
	Pod       *v1.Pod
	Container *v1.Container
	Hash      string
	Attempt   uint32
	ImageRef  string
	Grant     containermsg.Grant
	Target    model.ContainerID
}

// create makes the config and creates the container. It runs in a runner goroutine.
func (b *Builder) create(ctx context.Context, in CreateInput) containermsg.Done {
	wanted := in.Attempt
	attempt, err := b.attempt(in.Pod, in.Container, wanted)
	in.Attempt = attempt
	var cfg *runtimeapi.ContainerConfig
	if err == nil {
		cfg, err = b.config(ctx, in)
	}
	if err != nil {
		if ctx.Err() != nil { // nothing was asked of the runtime yet
			err = fmt.Errorf("prepare container %s: %w", in.Container.Name, err)
		}
		return containermsg.Done{Class: model.OutcomeRefused, Err: err, Reason: containerplan.ReasonConfigError, Message: err.Error()}
	}
	id, err := b.Runtime.CreateContainer(ctx, in.Grant.Sandbox, cfg, in.Grant.SandboxConfig)
	out := done(err, id)
	if err != nil {
		out.Reason, out.Message = containerplan.ReasonCreateError, text(err)
	}
	if attempt != wanted {
		out.Attempt = &attempt
	}
	return out
}

// text is the error without gRPC's wrapping, as it is shown to users.
func text(err error) string { return err.Error() }

func (b *Builder) config(ctx context.Context, in CreateInput) (*runtimeapi.ContainerConfig, error) {
	facts := b.Facts()
	pod, c := in.Pod, in.Container
	if name := containerspec.TargetName(pod, c.Name); name != "" && in.Target == "" {
		return nil, fmt.Errorf("unable to find target container %s", name)
	}
	src, err := b.sources(ctx, pod, c, facts, in.Grant)
	if err != nil {
		return nil, err
	}
	env, err := containerspec.Env(pod, c, src)
	if err != nil {
		return nil, err
	}
	mounts, err := b.mounts(pod, c, in.Grant, env, facts)
	if err != nil {
		return nil, err
	}
	user, err := b.imageUser(ctx, pod, c, in.ImageRef)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(sandboxspec.LogDir(b.LogsRoot, pod), c.Name), 0o755); err != nil {
		return nil, fmt.Errorf("create container log directory for container %s failed: %w", c.Name, err)
	}
	devices, err := b.devices(c, in.Grant)
	if err != nil {
		return nil, err
	}
	return containerspec.Config(containerspec.Input{
		Pod: pod, Container: c, Attempt: in.Attempt, Hash: in.Hash, ImageRef: in.ImageRef, ImageUser: user, Env: env, Mounts: mounts, Devices: devices,
		Userns: usernsOf(in.Grant.SandboxConfig), TargetContainer: string(in.Target), Node: facts.Limits,
		SeccompRoot: filepath.Join(b.RootDir, "seccomp"), SeccompDefault: b.SeccompDefault,
	})
}

func usernsOf(cfg *runtimeapi.PodSandboxConfig) *runtimeapi.UserNamespace {
	return cfg.GetLinux().GetSecurityContext().GetNamespaceOptions().GetUsernsOptions()
}

// sources reads the objects that the environment refers to; a missing one stays nil for the pure part to judge.
func (b *Builder) sources(ctx context.Context, pod *v1.Pod, c *v1.Container, facts NodeFacts, g containermsg.Grant) (containerspec.Sources, error) {
	ips := g.IPs
	if pod.Spec.HostNetwork {
		ips = facts.HostIPs
	}
	var err error
	src := containerspec.Sources{
		ConfigMaps: map[string]*v1.ConfigMap{}, Secrets: map[string]*v1.Secret{}, PodIPs: ips, HostIPs: facts.HostIPs, Allocatable: facts.Allocatable,
		Files: func(volume, path, key string) (string, bool, error) { return envFile(g.Mounts, volume, path, key) },
	}
	cms, secrets := containerspec.Objects(c)
	for _, name := range cms {
		m, err := b.Objects.ConfigMap(ctx, pod.Namespace, name)
		if err != nil && !apierrors.IsNotFound(err) {
			return src, err
		}
		if err == nil {
			src.ConfigMaps[name] = m
		}
	}
	for _, name := range secrets {
		s, err := b.Objects.Secret(ctx, pod.Namespace, name)
		if err != nil && !apierrors.IsNotFound(err) {
			return src, err
		}
		if err == nil {
			src.Secrets[name] = s
		}
	}
	src.Services, err = b.services(ctx, pod)
	return src, err
}

// services are those whose addresses the container gets. A static pod does not wait for them: it may be what the API
// server, who knows them, runs in.
func (b *Builder) services(ctx context.Context, pod *v1.Pod) ([]*v1.Service, error) {
	if b.Services == nil {
		return nil, nil
	}
	source := pod.Annotations[podchange.ConfigSource]
	if source == "" || source == "api" {
		return b.Services.Services(ctx)
	}
	now, cancel := context.WithCancel(ctx)
	cancel() // what is known at this moment
	list, err := b.Services.Services(now)
	if err != nil {
		klog.V(2).InfoS("A static pod starts before services are known", "pod", klog.KObj(pod))
		return nil, nil
	}
	return list, nil
}

// mounts prepares the container's volume mounts, its hosts file and the file for its termination message.
func (b *Builder) mounts(pod *v1.Pod, c *v1.Container, g containermsg.Grant, env []containerspec.Variable, facts NodeFacts) ([]*runtimeapi.Mount, error) {
	list, err := containerspec.Mounts(c, g.Mounts, env)
	if err != nil {
		return nil, err
	}
	var out []*runtimeapi.Mount
	for _, m := range list {
		host := m.Volume.HostPath
		if m.SubPath != "" && m.Volume.ImageRef == "" {
			host, err = subpath.Prepare(b.Mounter, subpath.Request{
				Root: b.RootDir, UID: pod.UID, Container: c.Name, Index: m.Index, Volume: m.Spec.Name, VolumeRoot: m.Volume.HostPath, SubPath: m.SubPath,
			})
			if err != nil {
				klog.ErrorS(err, "Could not prepare a subPath", "pod", klog.KObj(pod), "container", c.Name, "volumeMount", m.Spec.Name)
				return nil, fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q", m.Spec.Name, c.Name)
			}
		}
		r, err := m.Runtime(host, facts.RecursiveReadOnly[g.Handler])
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	if h, err := b.hosts(pod, c, g, facts); err != nil {
		return nil, err
	} else if h != nil {
		out = append(out, h)
	}
	if t := b.terminationFile(pod, c); t != nil {
		out = append(out, t)
	}
	return out, nil
}

// hosts writes the pod's hosts file, unless the container mounts its own there.
func (b *Builder) hosts(pod *v1.Pod, c *v1.Container, g containermsg.Grant, facts NodeFacts) (*runtimeapi.Mount, error) {
	if containerspec.MountsHosts(c) || (len(g.IPs) == 0 && !pod.Spec.HostNetwork) {
		return nil, nil
	}
	var content []byte
	if pod.Spec.HostNetwork {
		node, err := os.ReadFile(containerspec.HostsPath)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		content = containerspec.NodeHosts(node, pod.Spec.HostAliases)
	} else {
		host, domain, err := sandboxspec.Hostname(pod, b.ClusterDomain)
		if err != nil {
			return nil, err
		}
		content = containerspec.ManagedHosts(g.IPs, host, domain, pod.Spec.HostAliases)
	}
	file := filepath.Join(b.podDir(pod), "etc-hosts")
	// The file is mounted into running containers: it is written in place, and only when it differs.
	if old, err := os.ReadFile(file); err != nil || !bytes.Equal(old, content) {
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return nil, fmt.Errorf("write the hosts file: %w", err)
		}
	}
	return &runtimeapi.Mount{ContainerPath: containerspec.HostsPath, HostPath: file}, nil
}

// terminationFile makes the file that the container may leave its last words in; that it could not be made is no reason
// not to start.
func (b *Builder) terminationFile(pod *v1.Pod, c *v1.Container) *runtimeapi.Mount {
	if c.TerminationMessagePath == "" {
		return nil
	}
	dir := filepath.Join(b.podDir(pod), "containers", c.Name)
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	file := filepath.Join(dir, hex.EncodeToString(id[:]))
	err := os.MkdirAll(dir, 0o750)
	if err == nil {
		err = os.WriteFile(file, nil, 0o666)
	}
	if err == nil {
		err = os.Chmod(file, 0o666) // whatever the umask is
	}
	if err != nil {
		klog.ErrorS(err, "Could not make the termination message file", "pod", klog.KObj(pod), "container", c.Name)
		return nil
	}
	return &runtimeapi.Mount{ContainerPath: absolute(c.TerminationMessagePath), HostPath: file}
}

func absolute(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return "/" + p
}

func (b *Builder) podDir(pod *v1.Pod) string {
	return filepath.Join(b.RootDir, "pods", string(pod.UID))
}

// devices are the block volumes of a container.
func (b *Builder) devices(c *v1.Container, g containermsg.Grant) ([]*runtimeapi.Device, error) {
	var out []*runtimeapi.Device
	for _, d := range c.VolumeDevices {
		v, ok := g.Mounts[d.Name]
		if !ok {
			return nil, fmt.Errorf("cannot find volume %q to pass into container %q", d.Name, c.Name)
		}
		perm := "mrw"
		if v.ReadOnly {
			perm = "r"
		}
		out = append(out, &runtimeapi.Device{HostPath: v.HostPath, ContainerPath: d.DevicePath, Permissions: perm})
	}
	return out, nil
}
