package cli

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

func newExplain() *cobra.Command {
	var socket, output, namespace string
	cmd := &cobra.Command{
		Use:   "explain POD",
		Short: "Say why a pod is where it is",
		Long:  "Says in one sentence what a pod waits for and what would unblock it, with the evidence and\nthe timeline. POD is a name, or namespace/name.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pod := args[0]
			if ns, name, found := strings.Cut(pod, "/"); found {
				namespace, pod = ns, name
			}
			if namespace == "" || pod == "" || strings.Contains(pod, "/") {
				return fmt.Errorf("%q is not a pod; write a name or namespace/name", args[0])
			}
			query := url.Values{"format": {"text"}}
			if output == "json" {
				query = nil
			}
			raw, err := fetch(cmd.Context(), socket, "/explain/"+namespace+"/"+pod, query)
			if err != nil {
				return err
			}
			if output == "json" {
				return indent(cmd.OutOrStdout(), raw)
			}
			return writeExplanation(cmd.OutOrStdout(), string(raw), coloursFor(cmd.OutOrStdout()))
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "default", "namespace of the pod")
	socketFlag(cmd, &socket)
	outputFlag(cmd, &output)
	return cmd
}

// writeExplanation prints the agent's text with its first line, the sentence,
// in bold.
func writeExplanation(w io.Writer, text string, c colours) error {
	sentence, rest, _ := strings.Cut(strings.TrimRight(text, "\n"), "\n")
	if rest != "" {
		rest = "\n" + rest
	}
	_, err := fmt.Fprintln(w, c.bold(sentence)+rest)
	return err
}
