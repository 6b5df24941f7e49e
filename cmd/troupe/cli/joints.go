package cli

import "github.com/spf13/cobra"

// standaloneCommands are run, ps, logs and stop.
func standaloneCommands() []*cobra.Command { return nil }

// benchCommands are bench and what is below it.
func benchCommands() []*cobra.Command { return nil }
