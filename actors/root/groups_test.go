package root

import (
	"context"
	"os"
	"strings"
	"sync"

	"github.com/troupe-dev/troupe/cgroups"
)

// groups is an applier that keeps cgroups in memory.
type groups struct {
	mu   sync.Mutex
	have map[string]cgroups.Desired
}

func newGroups() *groups { return &groups{have: map[string]cgroups.Desired{}} }

func (g *groups) Apply(_ context.Context, d cgroups.Desired) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.have[d.Name.String()] = d
	return nil
}

func (g *groups) Update(_ context.Context, d cgroups.Desired) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.have[d.Name.String()]; !ok {
		return os.ErrNotExist
	}
	g.have[d.Name.String()] = d
	return nil
}

func (g *groups) Remove(_ context.Context, n cgroups.Name) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for k := range g.have {
		if k == n.String() || strings.HasPrefix(k, n.String()+"/") {
			delete(g.have, k)
		}
	}
	return nil
}

func (g *groups) Exists(n cgroups.Name) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.have[n.String()]
	return ok
}

func (g *groups) Children(n cgroups.Name) ([]cgroups.Name, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []cgroups.Name
	for _, d := range g.have {
		if len(d.Name) == len(n)+1 && d.Name.Parent().String() == n.String() {
			out = append(out, d.Name)
		}
	}
	return out, nil
}

func (g *groups) Parent(n cgroups.Name) string { return n.String() }

// pods is how many pods have a cgroup.
func (g *groups) pods() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for k := range g.have {
		if strings.Contains(k, "/pod") {
			n++
		}
	}
	return n
}
