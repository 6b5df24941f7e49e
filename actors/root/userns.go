package root

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/troupe-dev/troupe/actors/userns"
	"github.com/troupe-dev/troupe/actors/userns/usernsplan"
	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/cgroupmsg"
	"github.com/troupe-dev/troupe/messages/usernsmsg"
)

// newUserns makes the /userns actor. It fails when the host gives ids that cannot be used, as the kubelet does.
func (a *Agent) newUserns(ctx context.Context, d Deps, cfg Config) error {
	plan := usernsplan.Config{PerPod: usernsplan.Unit, MaxPods: int(cfg.Kubelet.MaxPods)}
	if u := cfg.Kubelet.UserNamespaces; u != nil && u.IDsPerPod != nil && *u.IDsPerPod > 0 {
		plan.PerPod = uint32(*u.IDsPerPod)
	}
	var err error
	if plan.IDs, err = userns.Subids(ctx, plan.PerPod); err != nil {
		return fmt.Errorf("ids for user namespaces: %w", err)
	}
	produce, err := userns.New(userns.Deps{Runner: a.Runner, Logger: d.Logger}, userns.Config{PodsDir: podsDir(cfg), Plan: plan})
	if err != nil {
		return fmt.Errorf("ids for user namespaces: %w", err)
	}
	a.refs.userns.set(a.System.Root("userns", userns.Kind, produce))
	return nil
}

// freeing passes on what is told to the cgroup actor. A pod gives back its cgroup when nothing of it runs any more, and its
// user ids with it. Its place on the node may be given away earlier.
type freeing struct{ next, userns messages.Sink }

// Tell implements messages.Sink.
func (f freeing) Tell(msg any) {
	f.next.Tell(msg)
	switch m := msg.(type) {
	case cgroupmsg.Drop:
		f.userns.Tell(usernsmsg.Drop{UID: m.UID})
	case cgroupmsg.Sweep:
		f.userns.Tell(usernsmsg.Sweep{Owned: m.Owned})
	}
}

func podsDir(cfg Config) string { return filepath.Join(cfg.RootDir, "pods") }

// userNamespaces says whether a handler can make user namespaces; an error names a handler that the runtime does not have.
func (h *Host) userNamespaces(handler string) (bool, error) {
	now := h.abilities()
	if len(now.known) > 0 && !now.known[handler] {
		return false, fmt.Errorf("the handler %q is not known", handler)
	}
	return now.userNamespaces[handler], nil
}
