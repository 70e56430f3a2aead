package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins"
)

// newBackend runs a built-in backend as the plugin process that serve starts.
func newBackend(cli) *cobra.Command {
	return &cobra.Command{
		Use:     "backend KIND",
		Short:   "Run a built-in backend as a plugin (serve does this by itself)",
		Example: `  anybridge backend wamp`,
		Hidden:  true,
		Args:    needArgs(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			b := findBuiltin(args[0])
			if b == nil {
				return fmt.Errorf("there is no built-in backend %q", args[0])
			}
			plugins.Serve(func(env plugins.Env) core.Backend { return b.new(env.Log) })
			return nil
		},
	}
}
