package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/troupe-dev/troupe/cmd/troupe/kubeletconfig"
	"github.com/troupe-dev/troupe/supervisor/registry"
)

func newTree() *cobra.Command {
	var socket, output string
	cmd := &cobra.Command{
		Use:   "tree [PATH]",
		Short: "Show the actors of the agent on this machine",
		Long:  "Shows every actor: kind, state, age, restarts, waiting messages, and the message in hand.\nPATH shows one branch, such as /pods.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := fetch(cmd.Context(), socket, "/actors", nil)
			if err != nil {
				return err
			}
			branch := ""
			if len(args) == 1 {
				branch = args[0]
			}
			if output == "json" && branch == "" {
				return indent(cmd.OutOrStdout(), raw)
			}
			var tree registry.Tree
			if err := json.Unmarshal(raw, &tree); err != nil {
				return fmt.Errorf("read the answer of the agent: %w", err)
			}
			if branch != "" {
				n, ok := find(tree.Roots, "/"+strings.Trim(branch, "/"))
				if !ok {
					return fmt.Errorf("no actor %s; `troupe tree` shows all", branch)
				}
				tree.Roots = []registry.Node{n}
			}
			if output == "json" {
				return encode(cmd.OutOrStdout(), tree.Roots[0])
			}
			return writeTree(cmd.OutOrStdout(), tree, coloursFor(cmd.OutOrStdout()))
		},
	}
	socketFlag(cmd, &socket)
	outputFlag(cmd, &output)
	return cmd
}

func socketFlag(cmd *cobra.Command, socket *string) {
	cmd.Flags().StringVar(socket, "socket", kubeletconfig.DefaultSocket, "inspection `socket` of the agent")
}

// find looks an actor up by path.
func find(nodes []registry.Node, path string) (registry.Node, bool) {
	for _, n := range nodes {
		if n.Path == path {
			return n, true
		}
		if strings.HasPrefix(path, n.Path+"/") {
			return find(n.Children, path)
		}
	}
	return registry.Node{}, false
}

// stuckAfter is how long a message may be in hand before the tree shows it in
// red: handlers never wait, so this is far beyond what they need.
const stuckAfter = time.Second

// row is one line of the tree: cells with their colours, still unaligned.
type row struct {
	lead  string // drawing
	cells []string
	tint  []func(string) string
}

// writeTree prints one line for each actor, in columns.
func writeTree(w io.Writer, t registry.Tree, c colours) error {
	rows := []row{{cells: []string{"ACTOR", "KIND", "STATE", "AGE", "RESTARTS", "MAILBOX", "NOW"}, tint: repeat(c.dim, 7)}}
	for _, n := range t.Roots {
		rows = append(rows, rowsOf(n, t.At, c, "", "", "/"+n.Name)...)
	}
	widths := make([]int, 7)
	for _, r := range rows {
		for i, cell := range r.cells {
			n := utf8.RuneCountInString(cell)
			if i == 0 {
				n += utf8.RuneCountInString(r.lead)
			}
			widths[i] = max(widths[i], n)
		}
	}
	for _, r := range rows {
		var line strings.Builder
		for i, cell := range r.cells {
			pad := widths[i] - utf8.RuneCountInString(cell)
			if i == 0 {
				line.WriteString(c.dim(r.lead))
				pad -= utf8.RuneCountInString(r.lead)
			}
			line.WriteString(r.tint[i](cell))
			if i < len(r.cells)-1 {
				line.WriteString(strings.Repeat(" ", pad+2))
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// rowsOf draws an actor and all below it. lead is drawn before the actor
// itself, below before its children.
func rowsOf(n registry.Node, now time.Time, c colours, lead, below, name string) []row {
	out := []row{line(n, now, c, lead, name)}
	for i, child := range n.Children {
		branch, rest := "├─ ", "│  "
		if i == len(n.Children)-1 {
			branch, rest = "└─ ", "   "
		}
		out = append(out, rowsOf(child, now, c, below+branch, below+rest, title(child))...)
	}
	return out
}

// title is the actor's name, and for a pod also what people call it.
func title(n registry.Node) string {
	detail, ok := n.Detail.(map[string]any)
	if !ok || n.Kind != "pod" {
		return n.Name
	}
	namespace, _ := detail["namespace"].(string)
	name, _ := detail["name"].(string)
	if name == "" {
		return n.Name
	}
	return fmt.Sprintf("%s/%s (%.8s)", namespace, name, n.Name)
}

func line(n registry.Node, now time.Time, c colours, lead, name string) row {
	plain := func(s string) string { return s }
	r := row{lead: lead, cells: []string{name, n.Kind, n.State, "", "", "", ""}, tint: repeat(plain, 7)}
	if lead == "" {
		r.tint[0] = c.bold
	}
	r.tint[1] = c.dim
	r.tint[2] = stateColour(n.State, c)
	r.cells[3] = age(now.Sub(n.Started))
	if n.Restarts > 0 {
		r.cells[4], r.tint[4] = fmt.Sprint(n.Restarts), c.yellow
	}
	if n.Mailbox > 0 {
		r.cells[5] = fmt.Sprint(n.Mailbox)
	}
	switch {
	case n.QuarantinedUntil != nil && n.QuarantinedUntil.After(now):
		r.cells[6], r.tint[6] = fmt.Sprintf("quarantined after %d panics, again in %s", n.Panics, age(n.QuarantinedUntil.Sub(now))), c.red
	case n.InHand != "" && n.Since != nil:
		held := now.Sub(*n.Since)
		r.cells[6] = n.InHand + " for " + age(held)
		if held > stuckAfter {
			r.tint[6] = c.red
		}
	case n.Panics > 0:
		r.cells[6], r.tint[6] = fmt.Sprintf("%d panics", n.Panics), c.yellow
	}
	return r
}

func stateColour(state string, c colours) func(string) string {
	switch state {
	case "Running", "Up", "Ready", "Connected":
		return c.green
	case "Backoff", "Doubt", "Ending", "Stopping", "Pulling":
		return c.yellow
	case "Quarantined", "Down", "Outage":
		return c.red
	}
	return func(s string) string { return s }
}

func repeat(f func(string) string, n int) []func(string) string {
	out := make([]func(string) string, n)
	for i := range out {
		out[i] = f
	}
	return out
}

// age is a duration in its one or two largest units.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
