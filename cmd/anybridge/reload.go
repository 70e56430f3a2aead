package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newReload(c cli) *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the running bridge apply its changed configuration",
		Long: `Have the running bridge read its configuration again and apply what changed. What
did not change stays connected. A file with a mistake is refused whole: the mistakes
are printed, and the bridge goes on as it was. The token needs the admin scope.

SIGHUP to the bridge does the same.`,
		Example: `  anybridge check && anybridge reload`,
		Args:    needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := flags.client(cmd, c)
			if err != nil {
				return err
			}
			ctx, stop := interruptible()
			defer stop()
			if _, err := client.post(ctx, "/reload/", map[string]any{}); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, "reloaded")
			return err
		},
	}
	flags.add(cmd)
	return cmd
}
