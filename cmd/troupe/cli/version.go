package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/troupe-dev/troupe/cmd/troupe/version"
)

func newVersion() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output == "json" {
				return writeVersion(cmd.OutOrStdout(), "raw")
			}
			return writeVersion(cmd.OutOrStdout(), "true")
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// writeVersion prints one line in the kubelet's own form, or all facts as JSON.
func writeVersion(w io.Writer, how string) error {
	info := version.Get()
	if how != "raw" {
		_, err := fmt.Fprintf(w, "Kubernetes %s\n", info.Kubelet)
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(info)
}

// outputFlag adds -o, which takes nothing or json.
func outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().VarP(outputValue{output}, "output", "o", `"json" for machines`)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json"}, cobra.ShellCompDirectiveNoFileComp))
}

type outputValue struct{ value *string }

func (o outputValue) String() string {
	if o.value == nil {
		return ""
	}
	return *o.value
}
func (o outputValue) Type() string { return "format" }
func (o outputValue) Set(s string) error {
	if s != "json" && s != "" {
		return fmt.Errorf("%q is not json", s)
	}
	*o.value = s
	return nil
}
