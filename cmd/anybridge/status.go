package main

import (
	"encoding/json"
	"fmt"
	"io"
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
what it owes to endpoints: how much is stored, dead letters, endpoints that are parked
(they fail, and get only probes) or disabled (nothing is sent to them until they are
subscribed again), and the lanes, in which deliveries are worked off side by side. The
token needs the admin scope.`,
		Example: `  anybridge status
  anybridge status --json | jq '[.engine.lanes[].pending] | add'`,
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
	if err := w.Flush(); err != nil {
		return err
	}
	printEngine(w, &s.Engine, now)
	printRoutes(w, s.Routes)
	return w.Flush()
}

// printRoutes shows what routes have carried, and what not.
func printRoutes(w io.Writer, routes []rest.Route) {
	if len(routes) == 0 {
		return
	}
	fmt.Fprintln(w, "\nROUTE\tKIND\tFROM\tTO\tCARRIED\tFILTERED\tLOST\tWAITING")
	for _, r := range routes {
		// What a durable route's target refuses is tried again, or a dead letter.
		lost := r.Dropped + r.Refused + r.Failed + r.Braked
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\n", r.Name, r.Kind, r.From, r.To, r.Carried, r.Filtered, lost, r.Waiting)
	}
	for _, r := range routes {
		if r.LastError != "" {
			fmt.Fprintf(w, "%s to %s: %s\n", r.Name, r.To, r.LastError)
		}
	}
}

// printEngine shows what is owed and how much room it takes.
func printEngine(w io.Writer, e *rest.EngineStatus, now time.Time) {
	store := e.Store
	if !e.Connected {
		store += ", which cannot be reached"
	}
	fmt.Fprintf(w, "\nstore\t%s\ndurability\t%s\nstored\t%s of %s\ndead letters\t%d\n", store, e.Durability, bytesText(e.Bytes), bytesText(e.MaxBytes), e.DeadLetters)
	fmt.Fprintf(w, "endpoints parked\t%d\nendpoints disabled\t%d\nasynchronous calls\t%d\n", e.Parked, e.Disabled, e.Counters["async_calls_now"])
	fmt.Fprintln(w, "\nLANE\tOWED\tSENDING\tENDPOINTS\tOLDEST\tWORKED BY")
	for _, l := range e.Lanes {
		by := "this bridge"
		switch {
		case !l.Mine && l.Owner == "":
			by = "nobody yet"
		case !l.Mine:
			by = l.Owner
		}
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%s\t%s\n", l.Lane, l.Pending, l.Running, l.Endpoints, since(l.Oldest, now), by)
	}
}

// bytesText is a number of bytes, for people.
func bytesText(n int64) string {
	const step = 1 << 10
	if n < step {
		return plural(int(n), "byte")
	}
	value, units := float64(n), "KMGTPE"
	unit := -1
	for value >= step && unit+1 < len(units) {
		value /= step
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
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
