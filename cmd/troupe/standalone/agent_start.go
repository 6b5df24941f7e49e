package standalone

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/troupe-dev/troupe/actors/root"
	"github.com/troupe-dev/troupe/cmd/troupe/compose"
	"github.com/troupe-dev/troupe/cmd/troupe/kubeletconfig"
	"github.com/troupe-dev/troupe/cmd/troupe/version"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/server"
	"github.com/troupe-dev/troupe/server/inspect"
)

// waitRuntime is how long the agent waits for an existing runtime to name its cgroup driver.
const waitRuntime = 30 * time.Second

// startAgent composes the agent of a run: no API server, pods in memory, inspection on a socket and on a page that only
// this machine reaches. The agent outlives ctx: its pods have to be ended before it.
func startAgent(ctx context.Context, c AgentConfig) (Agent, error) {
	k := kubeletconfig.NewDefault()
	no := false
	k.CgroupDriver, k.CgroupRoot, k.PodLogsDir = string(c.Cgroups.Driver), c.Cgroups.Path, c.PodLogsDir
	k.FailSwapOn, k.FailCgroupV1 = &no, &no
	k.SerializeImagePulls = &no
	objects := make([]any, 0, len(c.ConfigMaps)+len(c.Secrets))
	for _, o := range c.ConfigMaps {
		objects = append(objects, o)
	}
	for _, o := range c.Secrets {
		objects = append(objects, o)
	}
	a, err := compose.Start(context.WithoutCancel(ctx), compose.Options{
		Root: root.Config{
			NodeName: c.NodeName, Kubelet: k, Version: version.Get().Kubelet, Major: "1.36", RootDir: c.RootDir, Embedded: true, WaitRuntime: waitRuntime,
		},
		Deps: root.Deps{Child: c.Child, Objects: objects, Changed: func(*v1.Pod, bool) { c.Changed() }},
		Server: server.Config{
			Socket: c.InspectSocket, Inspect: "127.0.0.1:0", InspectToken: rand.Text(), EnableDebuggingHandlers: true, CallTimeout: k.RuntimeRequestTimeout.Duration,
		},
		Runtime: c.Runtime, Configz: func() any { return k }, Logger: c.Log,
	})
	if err != nil {
		return nil, err
	}
	return &composed{a}, nil
}

// composed is the real agent.
type composed struct{ a *compose.Agent }

func (c *composed) Add(pod *v1.Pod) (*v1.Pod, error)        { return c.a.Source.Add(pod) }
func (c *composed) Synced()                                 { c.a.Source.Synced() }
func (c *composed) Delete(uid types.UID, grace *int64) bool { return c.a.Source.Delete(uid, grace) }
func (c *composed) Pods() []*v1.Pod                         { return c.a.Source.List() }
func (c *composed) Stop(ctx context.Context) error          { return c.a.Stop(ctx) }
func (c *composed) InspectURL() string                      { return c.a.Server.InspectURL() }

// Explain is the sentence of `troupe explain` without its subject, which the view shows already.
func (c *composed) Explain(pod *v1.Pod) string {
	node, ok := c.a.System.Registry().Find("/pods/" + string(pod.UID))
	if !ok {
		return ""
	}
	e, ok := node.Detail.(model.PodExplain)
	if !ok {
		return ""
	}
	s := strings.TrimPrefix(inspect.Sentence(e, time.Now()), "Pod "+pod.Namespace+"/"+pod.Name+" ")
	for _, opening := range []string{"is not ready: ", "it is ", "is "} {
		s = strings.TrimPrefix(s, opening)
	}
	return strings.TrimSuffix(s, ".")
}
