// Package garbageplan decides which dead containers, dead sandboxes, logs and links may go. It is pure. What a pod needs
// while it lives its own actor keeps and removes; here is what is left over: instances that an earlier agent left, what
// exceeds the node's limits, and files that nobody names any more.
//
// Invariants: nothing that runs, or may yet be started, is named; of the logs of a container the newest stays, because its
// number is the memory of the restart count.
package garbageplan

import (
	"cmp"
	"slices"
	"time"

	"github.com/troupe-dev/troupe/messages/model"
)

// Policy are the node's limits (flags of the kubelet).
type Policy struct {
	// MinAge is how old an instance is at least before it may go (--minimum-container-ttl-duration).
	MinAge time.Duration
	// MaxPerContainer is how many dead instances of one container stay (--maximum-dead-containers-per-container), MaxTotal
	// how many of all (--maximum-dead-containers). Negative: no limit.
	MaxPerContainer, MaxTotal int
}

// young is for how long files of pods that are not known are left alone: another agent of this machine may own them.
const young = 10 * time.Minute

// Input is everything that was found.
type Input struct {
	Now    time.Time
	Policy Policy
	// All asks for everything of pods that have ended.
	All bool
	// Pods are those that a plan owns. What belongs to others is ended by the orphans' own actors.
	Pods map[model.UID]Pod
	// Containers and Sandboxes are all that the runtime has.
	Containers []model.Container
	Sandboxes  []model.Sandbox
	Logs       []LogDir
	// Links are links to logs that do not exist.
	Links []Link
}

// Pod is one pod that a plan owns.
type Pod struct {
	// Ended: none of its containers will run again.
	Ended bool
	// Told are instances whose end the pod's status tells: it needs them no more.
	Told map[model.ContainerID]struct{}
}

// LogDir is the directory of one pod's logs.
type LogDir struct {
	Path string
	UID  model.UID
	// Modified is when something in it was last written.
	Modified time.Time
	Files    []LogFile
}

// LogFile is one file of a container's log, rotated ones included.
type LogFile struct {
	Path      string
	Container string
	Attempt   uint32
}

// Link is a link in the folder of all container logs; ID is the container's as its name says, "" when that cannot be told.
type Link struct {
	Path string
	ID   model.ContainerID
}

// Output is what may go. The runtime's objects go first.
type Output struct {
	Containers []model.Container
	Sandboxes  []model.Sandbox
	// Files are logs of instances that are gone, Dirs logs of pods that are gone.
	Files, Dirs, Links []string
	// Again is when something will be old enough; zero when nothing waits for that.
	Again time.Time
}

type unit struct {
	uid  model.UID
	name string
}

// Next decides.
func Next(in Input) Output {
	p := plan{in: in, removed: map[model.ContainerID]bool{}}
	p.containers()
	p.sandboxes()
	p.logs()
	p.links()
	return p.out
}

type plan struct {
	in      Input
	out     Output
	removed map[model.ContainerID]bool
}

func (p *plan) later(at time.Time) {
	if p.out.Again.IsZero() || at.Before(p.out.Again) {
		p.out.Again = at
	}
}

func (p *plan) remove(c *model.Container) {
	if !p.removed[c.ID] {
		p.removed[c.ID] = true
		p.out.Containers = append(p.out.Containers, *c)
	}
}

// containers applies the limits: for each container, then for all.
func (p *plan) containers() {
	units := p.dead()
	total := 0
	for key, dead := range units {
		if p.in.All && p.in.Pods[key.uid].Ended {
			units[key] = p.keep(dead, 0)
		} else if p.in.Policy.MaxPerContainer >= 0 {
			units[key] = p.keep(dead, p.in.Policy.MaxPerContainer)
		}
		if len(units[key]) == 0 {
			delete(units, key)
		}
		total += len(units[key])
	}
	most := p.in.Policy.MaxTotal
	if most < 0 || total <= most {
		return
	}
	// As equal a share as possible, but one for each; then the oldest of all.
	share := max(most/len(units), 1)
	var rest []*model.Container
	for key := range units {
		rest = append(rest, p.keep(units[key], share)...)
	}
	sortNewestFirst(rest)
	p.keep(rest, most)
}

// dead are the instances that may go, by container, newest first.
func (p *plan) dead() map[unit][]*model.Container {
	newest := map[unit]*model.Container{}
	for i := range p.in.Containers {
		c := &p.in.Containers[i]
		if n := newest[unit{c.UID, c.Name}]; n == nil || newer(c, n) {
			newest[unit{c.UID, c.Name}] = c
		}
	}
	units := map[unit][]*model.Container{}
	for i := range p.in.Containers {
		c := &p.in.Containers[i]
		key := unit{c.UID, c.Name}
		pod, owned := p.in.Pods[c.UID]
		if !owned || c.State == model.ContainerRunning || c.State == model.ContainerCreated {
			continue
		}
		if newest[key] == c {
			// The newest one is its actor's concern until its end has been told.
			if _, told := pod.Told[c.ID]; !told || c.State == model.ContainerUnknown {
				continue
			}
		}
		if at := c.CreatedAt.Add(p.in.Policy.MinAge); at.After(p.in.Now) {
			p.later(at)
			continue
		}
		units[key] = append(units[key], c)
	}
	for _, dead := range units {
		sortNewestFirst(dead)
	}
	return units
}

// keep removes all but the first n and returns those.
func (p *plan) keep(newestFirst []*model.Container, n int) []*model.Container {
	if len(newestFirst) <= n {
		return newestFirst
	}
	for _, c := range newestFirst[n:] {
		p.remove(c)
	}
	return newestFirst[:n]
}

func newer(a, b *model.Container) bool {
	if !a.CreatedAt.Equal(b.CreatedAt) {
		return a.CreatedAt.After(b.CreatedAt)
	}
	return a.Attempt > b.Attempt
}

func sortNewestFirst(list []*model.Container) {
	slices.SortFunc(list, func(a, b *model.Container) int {
		switch {
		case newer(a, b):
			return -1
		case newer(b, a):
			return 1
		}
		return cmp.Compare(a.ID, b.ID)
	})
}

// sandboxes names the dead ones that hold no container any more, but for the newest of a pod that lives.
func (p *plan) sandboxes() {
	holds := map[model.SandboxID]bool{}
	for i := range p.in.Containers {
		if c := &p.in.Containers[i]; !p.removed[c.ID] {
			holds[c.Sandbox] = true
		}
	}
	newest := map[model.UID]model.Sandbox{}
	for _, b := range p.in.Sandboxes {
		if n, ok := newest[b.UID]; !ok || b.CreatedAt.After(n.CreatedAt) || b.CreatedAt.Equal(n.CreatedAt) && b.Attempt > n.Attempt {
			newest[b.UID] = b
		}
	}
	for _, b := range p.in.Sandboxes {
		pod, owned := p.in.Pods[b.UID]
		if !owned || b.State == model.SandboxReady || holds[b.ID] || newest[b.UID].ID == b.ID && !(p.in.All && pod.Ended) {
			continue
		}
		p.out.Sandboxes = append(p.out.Sandboxes, b)
	}
}

// logs names the logs of pods that are gone, and of instances that are gone, but for the newest of each container.
func (p *plan) logs() {
	known := map[model.UID]bool{}
	have := map[unit]map[uint32]bool{}
	for i := range p.in.Containers {
		c := &p.in.Containers[i]
		known[c.UID] = true
		if p.removed[c.ID] {
			continue
		}
		key := unit{c.UID, c.Name}
		if have[key] == nil {
			have[key] = map[uint32]bool{}
		}
		have[key][c.Attempt] = true
	}
	for _, b := range p.in.Sandboxes {
		known[b.UID] = true
	}
	for _, dir := range p.in.Logs {
		if _, owned := p.in.Pods[dir.UID]; !owned {
			switch at := dir.Modified.Add(young); {
			case known[dir.UID]:
			case at.After(p.in.Now):
				p.later(at)
			default:
				p.out.Dirs = append(p.out.Dirs, dir.Path)
			}
			continue
		}
		newest := map[string]uint32{}
		for _, f := range dir.Files {
			newest[f.Container] = max(newest[f.Container], f.Attempt)
		}
		for _, f := range dir.Files {
			if f.Attempt < newest[f.Container] && !have[unit{dir.UID, f.Container}][f.Attempt] {
				p.out.Files = append(p.out.Files, f.Path)
			}
		}
	}
}

// links names those that point nowhere, unless their container still runs: while its log is being rotated it does not
// exist for a moment.
func (p *plan) links() {
	live := map[model.ContainerID]bool{}
	for i := range p.in.Containers {
		if c := &p.in.Containers[i]; c.State != model.ContainerExited {
			live[c.ID] = true
		}
	}
	for _, l := range p.in.Links {
		if !live[l.ID] {
			p.out.Links = append(p.out.Links, l.Path)
		}
	}
}
