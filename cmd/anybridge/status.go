package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	rest "github.com/anybridge/anybridge/adapters/http"
	"github.com/anybridge/anybridge/core"
)

func newStatus(c cli) *cobra.Command {
	var flags clientFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show backends, plugin processes, restarts and queue depths",
		Long: `Show how the running bridge is: its backends with their processes and restarts, and
what it owes to endpoints. The token needs the admin scope.`,
		Example: `  anybridge status
  anybridge status --json | jq .engine.pending_now`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := flags.client(cmd, c)
			if err != nil {
				return err
			}
			ctx, stop := interruptible()
			defer stop()
			answer, err := client.get(ctx, "/status/")
			if err != nil {
				return err
			}
			if asJSON {
				_, err = fmt.Fprintf(c.out, "%s\n", answer)
				return err
			}
			var s rest.Status
			if err := json.Unmarshal(answer, &s); err != nil {
				return core.Errorf(core.Internal, "the answer is not a status: %w", err)
			}
			return printStatus(c.out, &s, time.Now())
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the status as JSON")
	return cmd
}

func printStatus(out io.Writer, s *rest.Status, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "anybridge %s, up %s\n\n", s.Version, since(s.Started, now))
	fmt.Fprintln(w, "BACKEND\tKIND\tSTATE\tPID\tUP\tRESTARTS\tLISTENS ON")
	for _, b := range s.Backends {
		pid, up, restarts := "-", "-", "-"
		if b.Process != nil {
			pid, up, restarts = fmt.Sprint(b.Process.PID), since(b.Process.Started, now), fmt.Sprint(b.Process.Restarts)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", b.Name, b.Kind, b.State, pid, up, restarts, strings.Join(b.Listen, " "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, b := range s.Backends {
		if b.Reason != "" {
			fmt.Fprintf(w, "%s: %s\n", b.Name, b.Reason)
		}
	}
	fmt.Fprintf(w, "\nregistrations\t%d\nsubscriptions\t%d\nrequests now\t%d\ncallbacks now\t%d\n", s.Registrations, s.Subscriptions, s.Requests, s.Callbacks)
	for _, name := range slices.Sorted(maps.Keys(s.Engine)) {
		fmt.Fprintf(w, "%s\t%d\n", strings.ReplaceAll(name, "_", " "), s.Engine[name])
	}
	return w.Flush()
}

// since is how long ago something began, for people.
func since(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := now.Sub(t).Round(time.Second)
	if d >= 48*time.Hour {
		return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
	}
	return max(d, 0).String()
}
