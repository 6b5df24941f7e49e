package cli

import (
	"github.com/spf13/cobra"

	"github.com/troupe-dev/troupe/cmd/troupe/benchcmd"
	"github.com/troupe-dev/troupe/cmd/troupe/standalone"
)

// standaloneCommands are run, ps, logs and stop.
func standaloneCommands() []*cobra.Command {
	return []*cobra.Command{standalone.RunCommand(), standalone.PsCommand(), standalone.LogsCommand(), standalone.StopCommand()}
}

// benchCommands are bench and what is below it.
func benchCommands() []*cobra.Command { return []*cobra.Command{benchcmd.Command()} }
