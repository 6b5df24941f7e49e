package root

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/troupe-dev/troupe/actors/userns"
	"github.com/troupe-dev/troupe/actors/userns/usernsplan"
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

func podsDir(cfg Config) string { return filepath.Join(cfg.RootDir, "pods") }

// userNamespaces says whether a handler can make user namespaces; an error names a handler that the runtime does not have.
func (h *Host) userNamespaces(handler string) (bool, error) {
	now := h.abilities()
	if len(now.known) > 0 && !now.known[handler] {
		return false, fmt.Errorf("the handler %q is not known", handler)
	}
	return now.userNamespaces[handler], nil
}
