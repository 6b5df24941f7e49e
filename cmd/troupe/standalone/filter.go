package standalone

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Filter remembers what of the CNI plugins' shared packet filter objects was there before a run, so that the end of the
// run removes the ones that came with it. The plugins remove the rules of each pod themselves, but never the chains and
// tables that these hang in.
type Filter struct {
	// Chains are "iptables CNI-…" and "ip6tables CNI-…" in the nat table; Tables are "ip NAME", as nft names them.
	Chains, Tables []string
}

// pluginTables are the tables of the portmap and bridge plugins' nftables backend.
func pluginTables(name string) bool {
	return name == "cni_hostport" || name == "cni_plugins_masquerade"
}

// SeeFilter lists what is there now. A tool that is missing has nothing.
func SeeFilter(ctx context.Context) Filter {
	var f Filter
	for _, tool := range []string{"iptables", "ip6tables"} {
		for line := range strings.Lines(output(ctx, tool, "-w", "-t", "nat", "-S")) {
			if w := strings.Fields(line); len(w) == 2 && w[0] == "-N" && strings.HasPrefix(w[1], "CNI-") {
				f.Chains = append(f.Chains, tool+" "+w[1])
			}
		}
	}
	for line := range strings.Lines(output(ctx, "nft", "list", "tables")) {
		if w := strings.Fields(line); len(w) == 3 && pluginTables(w[2]) {
			f.Tables = append(f.Tables, w[1]+" "+w[2])
		}
	}
	return f
}

// Restore removes what is there now and was not there before, unless a pod's own chains are among it: they are of
// somebody else who came meanwhile and uses the rest, too.
func (f Filter) Restore(ctx context.Context) error {
	had := map[string]bool{}
	for _, x := range append(append([]string{}, f.Chains...), f.Tables...) {
		had[x] = true
	}
	now := SeeFilter(ctx)
	for _, c := range now.Chains {
		if !had[c] && !strings.Contains(c, " CNI-HOSTPORT-") {
			return nil
		}
	}
	var added []string
	for _, c := range now.Chains {
		if !had[c] {
			added = append(added, c)
		}
	}
	for _, c := range added { // the rules that lead to a chain go first, then what is in it
		tool, chain, _ := strings.Cut(c, " ")
		for line := range strings.Lines(output(ctx, tool, "-w", "-t", "nat", "-S")) {
			if strings.HasPrefix(line, "-A ") && strings.Contains(line, "-j "+chain+"\n") {
				rule := append([]string{"-w", "-t", "nat", "-D"}, splitRule(line)[1:]...)
				output(ctx, tool, rule...)
			}
		}
		output(ctx, tool, "-w", "-t", "nat", "-F", chain)
	}
	for _, c := range added {
		tool, chain, _ := strings.Cut(c, " ")
		output(ctx, tool, "-w", "-t", "nat", "-X", chain)
	}
	for _, t := range now.Tables {
		if !had[t] {
			output(ctx, "nft", append([]string{"delete", "table"}, strings.Fields(t)...)...)
		}
	}
	left := SeeFilter(ctx)
	for _, x := range append(left.Chains, left.Tables...) {
		if !had[x] {
			return fmt.Errorf("packet filter: %s could not be removed", x)
		}
	}
	return nil
}

// splitRule splits a rule as iptables -S prints it: words, some in double quotes.
func splitRule(line string) []string {
	var (
		words  []string
		word   strings.Builder
		quoted bool
	)
	for _, r := range strings.TrimSpace(line) + " " {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			if word.Len() > 0 {
				words = append(words, word.String())
				word.Reset()
			}
		default:
			word.WriteRune(r)
		}
	}
	return words
}

// output runs a tool and returns what it said; "" when it is missing or failed: callers look at the outcome instead.
func output(ctx context.Context, tool string, args ...string) string {
	p := lookPath(tool)
	if p == "" {
		return ""
	}
	var b bytes.Buffer
	cmd := exec.CommandContext(ctx, p, args...)
	cmd.Stdout = &b
	if cmd.Run() != nil {
		return ""
	}
	return b.String()
}
