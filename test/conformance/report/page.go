package report

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/troupe-dev/troupe/test/conformance/suite"
)

const head = `# Conformance

<!-- Written by the conformance rig (make conformance). Do not edit: the next run writes it anew. -->

Kubernetes' own end-to-end suite on one node, with Troupe and with the stock kubelet in the same lab. The table at the end has the latest result
of every spec for each of them.

` + "```sh\nmake conformance                            # all node specs but the slow ones, against Troupe\nmake conformance ARGS='--agent kubelet'     # against the stock kubelet\nmake conformance ARGS='--focus Probing'     # some specs\nmake conformance-serial                     # the slow ones and those that need the node for themselves\nmake conformance-ci                         # a choice of about ten minutes\n```" + `

The first call builds what it needs into a cache, which takes about ten minutes on two cores. A run that was cut off goes on where it was.

`

const lab = `## The lab

- etcd, the Kubernetes control plane, the stock kubelet and the suite are built from their Go modules, containerd, runc and the CNI plugins too.
  The agent under test gets the same arguments and the same KubeletConfiguration, whichever it is.
- All of it runs on one machine in namespaces of its own (mounts, processes, network, IPC, host name). No route leads out. When a run ends, or is
  killed, nothing stays but what was built.
- The images have upstream's names and are built from Debian's packages, busybox's source and the suite's test server. A kernel without dummy
  devices adds a bridge where a spec adds one; both ask for the same privilege.
- One node, IPv4, no kube-proxy, no cluster DNS, no CSI driver: what needs one of them is named above.
- A registry on loopback has the images, for specs that pull although an image is there.

`

// Page renders the results of all agents.
func Page(specs Specs, all []Results) string {
	var b strings.Builder
	b.WriteString(head)
	totals(&b, specs, all)
	failures(&b, all)
	notRun(&b, specs, all)
	b.WriteString(lab)
	versions(&b, specs)
	table(&b, specs, all)
	return b.String()
}

// WritePage reads results/ and writes the page.
func WritePage(results, page string) error {
	specs, err := LoadSpecs(results)
	if err != nil {
		return err
	}
	var all []Results
	for _, a := range Agents {
		r, err := Load(results, a)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	if err := os.MkdirAll(filepath.Dir(page), 0o755); err != nil {
		return err
	}
	return os.WriteFile(page, []byte(Page(specs, all)), 0o644)
}

func totals(b *strings.Builder, specs Specs, all []Results) {
	b.WriteString("## Totals\n\n| suite | agent | specs | passed | failed | skipped | not run |\n|---|---|--:|--:|--:|--:|--:|\n")
	for _, s := range specs.Suites {
		for _, r := range all {
			by := index(r)
			var passed, failed, skipped, missing int
			for _, n := range s.Specs {
				switch x, ok := by[n]; {
				case !ok:
					missing++
				case x.Failed():
					failed++
				case x.State == "skipped":
					skipped++
				default:
					passed++
				}
			}
			fmt.Fprintf(b, "| %s | %s | %d | %d | %d | %d | %d |\n", s.Name, r.Agent, len(s.Specs), passed, failed, skipped, missing)
		}
	}
	b.WriteString("\nconformance: all `[NodeConformance]` specs but the serial and the slow ones, which are the suite serial; `[Flaky]` ones are left out.\n")
	b.WriteString("\n## Latest runs\n\n| suite | agent | build | date | at a time | passed | failed | skipped | of | time | agent ended by itself |\n|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, r := range all {
		for _, n := range r.Runs {
			fmt.Fprintf(b, "| %s | %s | %s | %s | %d | %d | %d | %d | %d | %s | %d |\n", n.Suite, r.Agent, n.Build, n.Date, n.Procs, n.Passed, n.Failed, n.Skipped, n.Specs, span(n.Seconds), n.Crashes)
		}
	}
	seen := map[string]bool{}
	for _, r := range all {
		for _, n := range r.Runs {
			if !seen[n.Machine] {
				seen[n.Machine] = true
				fmt.Fprintf(b, "\nOn a machine with %s.\n", n.Machine)
			}
		}
	}
	b.WriteString("\n")
}

func span(s float64) string {
	if s < 60 {
		return fmt.Sprintf("%.0f s", s)
	}
	return fmt.Sprintf("%d min %02d s", int(s)/60, int(s)%60)
}

func failures(b *strings.Builder, all []Results) {
	b.WriteString("## Failed\n\n")
	none := true
	for _, r := range all {
		for _, s := range r.Specs {
			if s.Failed() {
				fmt.Fprintf(b, "- %s: %s: %s\n", r.Agent, cell(s.Name), cell(s.Message))
				none = false
			}
		}
	}
	if none {
		b.WriteString("None.\n")
	}
	b.WriteString("\n")
}

// notRun says of every spec without a verdict why: in the spec's own words when it skipped itself.
func notRun(b *strings.Builder, specs Specs, all []Results) {
	b.WriteString("## Could not run here, and why\n\n")
	none := true
	for _, r := range all {
		by := index(r)
		missing := map[string]int{}
		for _, u := range specs.Suites {
			for _, n := range u.Specs {
				if _, ok := by[n]; !ok {
					missing[u.Name]++
				}
			}
		}
		for _, u := range specs.Suites {
			if n := missing[u.Name]; n > 0 {
				fmt.Fprintf(b, "- %s: %d specs of the suite %s have not been run yet.\n", r.Agent, n, u.Name)
				none = false
			}
		}
		for _, s := range r.Specs {
			if s.State == "skipped" {
				fmt.Fprintf(b, "- %s: %s: %s\n", r.Agent, cell(s.Name), cell(s.Message))
				none = false
			}
		}
	}
	if none {
		b.WriteString("All could.\n")
	}
	b.WriteString("\n")
}

func versions(b *strings.Builder, specs Specs) {
	b.WriteString("## Versions\n\n| part | version |\n|---|---|\n")
	var names []string
	for n := range specs.Versions {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		fmt.Fprintf(b, "| %s | %s |\n", n, specs.Versions[n])
	}
	b.WriteString("\n")
}

// table has the suites' specs, and behind them others that were run with a focus of their own.
func table(b *strings.Builder, specs Specs, all []Results) {
	by := make([]map[string]suite.Result, len(all))
	others := map[string]bool{}
	for i, r := range all {
		by[i] = index(r)
		for _, s := range r.Specs {
			others[s.Name] = true
		}
	}
	groups := specs.Suites
	for _, g := range groups {
		for _, n := range g.Specs {
			delete(others, n)
		}
	}
	if len(others) > 0 {
		var names []string
		for n := range others {
			names = append(names, n)
		}
		sort.Strings(names)
		groups = append(groups[:len(groups):len(groups)], SuiteSpecs{Name: "others that were run", Specs: names})
	}
	b.WriteString("## Every spec\n\nSeconds that it took, when it passed.\n\n")
	for _, g := range groups {
		fmt.Fprintf(b, "### %s\n\n| spec |", strings.ToUpper(g.Name[:1])+g.Name[1:])
		for _, r := range all {
			fmt.Fprintf(b, " %s |", r.Agent)
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(all)) + "\n")
		for _, n := range g.Specs {
			fmt.Fprintf(b, "| %s |", cell(n))
			for i := range all {
				fmt.Fprintf(b, " %s |", verdict(by[i], n))
			}
			b.WriteString("\n")
		}
		b.WriteString("\n")
	}
}

func verdict(by map[string]suite.Result, name string) string {
	switch s, ok := by[name]; {
	case !ok:
		return "not run"
	case s.State == "passed" && s.Seconds > 0:
		return fmt.Sprintf("passed, %.0f", s.Seconds)
	default:
		return s.State
	}
}

func index(r Results) map[string]suite.Result {
	m := make(map[string]suite.Result, len(r.Specs))
	for _, s := range r.Specs {
		m[s.Name] = s
	}
	return m
}

// cell keeps text from being read as markup.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;", "*", `\*`, "_", `\_`, "`", "'").Replace(s)
}
