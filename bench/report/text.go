package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/troupe-dev/troupe/bench/dist"
	"github.com/troupe-dev/troupe/bench/floor"
	"github.com/troupe-dev/troupe/bench/load"
)

// Text writes the report for people. Of several rounds each figure is the median; walls show their spread.
func (r *Report) Text(w io.Writer) error {
	m := r.Machine
	fmt.Fprintf(w, "%s, %d CPUs (%s), %.0f GB, Linux %s, load %.1f before\n", r.Version, m.CPUs, m.Model, m.MemoryGB, m.Kernel, m.Load)
	for _, k := range slices.Sorted(maps.Keys(r.Setup)) {
		fmt.Fprintf(w, "%s: %s\n", k, r.Setup[k])
	}
	if len(r.Bare) > 0 {
		r.bare(w)
	}
	if len(r.Runs) > 0 {
		r.runs(w)
	}
	for _, run := range r.Runs {
		if run.Error != "" {
			fmt.Fprintf(w, "\n%s, round %d, FAILED: %s\n", run.Agent, run.Round+1, run.Error)
		}
	}
	return nil
}

func (r *Report) bare(w io.Writer) {
	fmt.Fprintf(w, "\nThe CRI calls alone, by how many pods at a time\n")
	t := table(w, "width", "up s", "pods/s", "p50 ms", "p99", "down s", "sandbox p50", "create", "start", "stop", "stop sandbox")
	for _, b := range r.Bare {
		op := func(name string) string { return ms(b.Ops[name].P50) }
		t.row(fmt.Sprint(b.Width), seconds(b.UpMs), fmt.Sprintf("%.0f", float64(b.Up.N)/b.UpMs*1000), ms(b.Up.P50), ms(b.Up.P99), seconds(b.DownMs),
			op("RunPodSandbox"), op("CreateContainer"), op("StartContainer"), op("StopContainer"), op("StopPodSandbox"))
	}
	t.flush()
	up, down := floor.Best(r.Bare)
	fmt.Fprintf(w, "best: up %s s at width %d, down %s s at width %d\n", seconds(up.UpMs), up.Width, seconds(down.DownMs), down.Width)
}

// cell is one agent in one phase, over all rounds.
type cell struct {
	agent  string
	phases []load.Phase
}

// median of one figure over the rounds.
func (c cell) median(f func(load.Phase) float64) float64 { return c.spread(f).Median }

func (c cell) spread(f func(load.Phase) float64) dist.Spread {
	v := make([]float64, 0, len(c.phases))
	for _, p := range c.phases {
		v = append(v, f(p))
	}
	return dist.SpreadOf(v)
}

// steps are the phases by their place in the plan, each with the agents in the order of their first turn.
func (r *Report) steps() [][]cell {
	var out [][]cell
	for _, run := range r.Runs {
		for i, p := range run.Phases {
			if i == len(out) {
				out = append(out, nil)
			}
			j := slices.IndexFunc(out[i], func(c cell) bool { return c.agent == run.Agent })
			if j < 0 {
				j = len(out[i])
				out[i] = append(out[i], cell{agent: run.Agent})
			}
			out[i][j].phases = append(out[i][j].phases, p)
		}
	}
	return out
}

func (r *Report) runs(w io.Writer) {
	for _, cells := range r.steps() {
		first := cells[0].phases[0]
		switch first.Phase {
		case load.Idle:
			fmt.Fprintf(w, "\nidle with %d pods, for %s s\n", first.Pods, seconds(first.MeasuredMs))
			idle(w, cells)
			continue
		case load.Churn:
			fmt.Fprintf(w, "\nchurn: %d pods replaced\n", first.Pods)
		case load.Fill, load.Delete:
			fmt.Fprintf(w, "\n%s: %d pods at once\n", first.Phase, first.Pods)
		}
		latencies(w, cells)
		costs(w, cells)
	}
	var up []string
	for _, run := range r.Runs {
		if run.NodeReadyMs > 0 {
			up = append(up, fmt.Sprintf("%s %s s", run.Agent, seconds(run.NodeReadyMs)))
		}
	}
	if len(up) > 0 {
		fmt.Fprintf(w, "\nfrom the agent's start until it takes pods: %s\n", strings.Join(up, ", "))
	}
}

func latencies(w io.Writer, cells []cell) {
	t := table(w, "agent", "", "wall s", "× floor", "p50 ms", "p90", "p99", "max", "in CRI calls p50", "p99", "rest p50", "p99", "not Ready again")
	limit := 0.0
	wall := func(p load.Phase) float64 { return p.WallMs }
	for _, c := range cells {
		if c.agent == FloorName {
			limit = c.median(wall)
		}
	}
	for _, c := range cells {
		for _, part := range []struct {
			name             string
			all, inCRI, rest func(load.Phase) *dist.Dist
		}{
			{"create→Ready", func(p load.Phase) *dist.Dist { return p.Ready }, func(p load.Phase) *dist.Dist { return p.ReadyRuntime }, func(p load.Phase) *dist.Dist { return p.ReadyRest }},
			{"delete→gone", func(p load.Phase) *dist.Dist { return p.Gone }, func(p load.Phase) *dist.Dist { return p.GoneRuntime }, func(p load.Phase) *dist.Dist { return p.GoneRest }},
		} {
			if part.all(c.phases[0]) == nil {
				continue
			}
			s := c.spread(wall)
			walls := seconds(s.Median)
			if s.N > 1 {
				walls += fmt.Sprintf(" (%s–%s)", seconds(s.Min), seconds(s.Max))
			}
			times := ""
			if limit > 0 {
				times = fmt.Sprintf("%.2f", s.Median/limit)
			}
			figure := func(of func(load.Phase) *dist.Dist, pick func(dist.Dist) float64) string {
				if of(c.phases[0]) == nil {
					return "–"
				}
				return ms(c.median(func(p load.Phase) float64 {
					if d := of(p); d != nil {
						return pick(*d)
					}
					return 0
				}))
			}
			p50, p99 := func(d dist.Dist) float64 { return d.P50 }, func(d dist.Dist) float64 { return d.P99 }
			t.row(c.agent, part.name, walls, times, figure(part.all, p50), figure(part.all, func(d dist.Dist) float64 { return d.P90 }), figure(part.all, p99),
				figure(part.all, func(d dist.Dist) float64 { return d.Max }), figure(part.inCRI, p50), figure(part.inCRI, p99), figure(part.rest, p50), figure(part.rest, p99),
				fmt.Sprint(c.median(func(p load.Phase) float64 { return float64(p.Flips) })))
		}
	}
	t.flush()
}

func costs(w io.Writer, cells []cell) {
	t := table(w, "agent", "CPU s", "user", "system", "switches", "involuntary", "RSS MB", "peak", "CRI calls/pod", "pod writes/pod", "event writes/pod")
	for _, c := range cells {
		per := func(f func(load.Phase) float64) string {
			return fmt.Sprintf("%.1f", c.median(func(p load.Phase) float64 { return f(p) / float64(max(1, p.Pods)) }))
		}
		calls := "–"
		if c.phases[0].Calls != nil {
			calls = per(callsOf)
		}
		t.row(append(append([]string{c.agent}, usage(c)...), calls, per(func(p load.Phase) float64 { return float64(p.PodWrites) }),
			per(func(p load.Phase) float64 { return float64(p.EventWrites) }))...)
	}
	t.flush()
	for _, c := range cells {
		last := c.phases[len(c.phases)-1]
		if last.Calls != nil {
			var parts []string
			for _, op := range slices.Sorted(maps.Keys(last.Calls)) {
				parts = append(parts, fmt.Sprintf("%s %d", op, last.Calls[op]))
			}
			fmt.Fprintf(w, "  %s called %s\n", c.agent, strings.Join(parts, ", "))
		}
	}
}

func callsOf(p load.Phase) float64 {
	n := uint64(0)
	for _, x := range p.Calls {
		n += x
	}
	return float64(n)
}

// usage are the cells of an agent's CPU, switches and memory.
func usage(c cell) []string {
	if c.phases[0].Agent == nil {
		return []string{"–", "–", "–", "–", "–", "–", "–"}
	}
	f := func(format string, pick func(*load.Usage) float64) string {
		return fmt.Sprintf(format, c.median(func(p load.Phase) float64 {
			if p.Agent == nil {
				return 0
			}
			return pick(p.Agent)
		}))
	}
	return []string{
		f("%.2f", func(u *load.Usage) float64 { return u.CPUSeconds }), f("%.2f", func(u *load.Usage) float64 { return u.UserSeconds }),
		f("%.2f", func(u *load.Usage) float64 { return u.SystemSeconds }), f("%.0f", func(u *load.Usage) float64 { return float64(u.Voluntary + u.Involuntary) }),
		f("%.0f", func(u *load.Usage) float64 { return float64(u.Involuntary) }), f("%.0f", func(u *load.Usage) float64 { return u.RSSMB }),
		f("%.0f", func(u *load.Usage) float64 { return u.PeakRSSMB }),
	}
}

func idle(w io.Writer, cells []cell) {
	t := table(w, "agent", "% of a core", "switches/s", "CRI calls/s", "pod writes/s", "RSS MB")
	for _, c := range cells {
		per := func(format string, f func(load.Phase) float64) string {
			return fmt.Sprintf(format, c.median(func(p load.Phase) float64 { return f(p) / p.MeasuredMs * 1000 }))
		}
		u := func(pick func(*load.Usage) float64) func(load.Phase) float64 {
			return func(p load.Phase) float64 {
				if p.Agent == nil {
					return 0
				}
				return pick(p.Agent)
			}
		}
		calls := "–"
		if slices.ContainsFunc(c.phases, func(p load.Phase) bool { return p.Calls != nil }) {
			calls = per("%.1f", callsOf)
		}
		t.row(c.agent, per("%.2f", u(func(u *load.Usage) float64 { return u.CPUSeconds * 100 })), per("%.0f", u(func(u *load.Usage) float64 { return float64(u.Voluntary + u.Involuntary) })),
			calls, per("%.1f", func(p load.Phase) float64 { return float64(p.PodWrites) }), usage(c)[5])
	}
	t.flush()
}

func ms(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

func seconds(ms float64) string { return fmt.Sprintf("%.2f", ms/1000) }

// grid is a table under its header.
type grid struct{ w *tabwriter.Writer }

func table(w io.Writer, header ...string) grid {
	g := grid{tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)}
	g.row(header...)
	return g
}

func (g grid) row(cells ...string) { fmt.Fprintln(g.w, "  "+strings.Join(cells, "\t")+"\t") }
func (g grid) flush()              { g.w.Flush() }
