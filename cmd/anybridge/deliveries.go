package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	rest "github.com/anybridge/anybridge/adapters/http"
	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// deliveryFlags say which deliveries are meant.
type deliveryFlags struct {
	subscription, topic string
	all                 bool
}

func newDeliveries(c cli) *cobra.Command {
	var flags clientFlags
	var which deliveryFlags
	var state string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "deliveries [ID]",
		Short: "Show what is owed to endpoints and what has failed",
		Long: `List deliveries: the dead letters (--state failed), those that wait for another
attempt (retrying), or those that wait on the disk for their turn (waiting). With an
ID one is shown in full, with what it carries and what came of its attempts.

The list has what the token's own subscriptions and calls are owed; --all, which needs
the admin scope, everybody's. "anybridge replay" sends dead letters again.

` + exitHelp(),
		Example: `  anybridge deliveries
  anybridge deliveries --state retrying --topic com.example.order
  anybridge deliveries --json | jq -r '.deliveries[].id'
  anybridge deliveries evt_vkmcbjpyn2ijd5q3wrbvfqjzsi_sub_0f1e2d3c4b5a69788796`,
		Args: needArgs(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := flags.client(cmd, c)
			if err != nil {
				return err
			}
			ctx, stop := interruptible()
			defer stop()
			if len(args) == 1 {
				return showDelivery(ctx, c.out, client, args[0], which.all, asJSON)
			}
			if limit < 1 {
				return usageError{cmd: cmd, message: "--limit must be at least 1"}
			}
			return listDeliveries(ctx, c.out, client, which.query(state), limit, asJSON)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&state, "state", string(engine.Failed), "failed, retrying or waiting")
	cmd.Flags().StringVar(&which.topic, "topic", "", "events of this topic alone")
	cmd.Flags().StringVar(&which.subscription, "subscription", "", "events for the subscription with this id alone")
	cmd.Flags().BoolVar(&which.all, "all", false, "everybody's (needs the admin scope)")
	cmd.Flags().IntVar(&limit, "limit", 100, "how many at most")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (f *deliveryFlags) query(state string) url.Values {
	q := url.Values{"state": {state}}
	if f.topic != "" {
		q.Set("topic", f.topic)
	}
	if f.subscription != "" {
		q.Set("subscription", f.subscription)
	}
	if f.all {
		q.Set("all", "1")
	}
	return q
}

// deliveriesAtOnce is how many are asked for in one request.
const deliveriesAtOnce = 1000

// listDeliveries asks as often as is needed for limit deliveries.
func listDeliveries(ctx context.Context, out io.Writer, client *client, query url.Values, limit int, asJSON bool) error {
	var list rest.DeliveriesView
	for {
		query.Set("limit", strconv.Itoa(min(limit-len(list.Deliveries), deliveriesAtOnce)))
		answer, err := client.get(ctx, "/deliveries/?"+query.Encode())
		if err != nil {
			return err
		}
		var page rest.DeliveriesView
		if err := json.Unmarshal(answer, &page); err != nil {
			return core.Errorf(core.Internal, "the answer is not a list of deliveries: %w", err)
		}
		list.Deliveries, list.Next = append(list.Deliveries, page.Deliveries...), page.Next
		if page.Next == "" || len(list.Deliveries) >= limit {
			break
		}
		query.Set("after", page.Next)
	}
	if asJSON {
		return printJSON(out, list)
	}
	return printDeliveries(out, &list, time.Now())
}

func printDeliveries(out io.Writer, list *rest.DeliveriesView, now time.Time) error {
	if len(list.Deliveries) == 0 {
		_, err := fmt.Fprintln(out, "none")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tWHAT\tTRIES\tLAST ANSWER\tWHEN")
	for i := range list.Deliveries {
		d := &list.Deliveries[i]
		what := whatOf(d)
		if d.Owner != "" {
			what += " (" + d.Owner + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", oneLine(d.ID), d.State, oneLine(what), d.Attempts, shorten(oneLine(lastAnswer(d)), 60), whenOf(d, now))
	}
	if list.Next != "" {
		fmt.Fprintf(w, "\nthere are more: --limit shows them\n")
	}
	return w.Flush()
}

func whatOf(d *rest.DeliveryView) string {
	if d.Procedure != "" {
		return "result of " + d.Procedure
	}
	return d.Topic
}

// lastAnswer says how the last attempt failed.
func lastAnswer(d *rest.DeliveryView) string {
	if len(d.Tries) == 0 {
		return "-"
	}
	return d.Tries[len(d.Tries)-1].Error
}

// whenOf says when a delivery has failed, or when it is tried next.
func whenOf(d *rest.DeliveryView, now time.Time) string {
	switch {
	case !d.FailedAt.IsZero():
		return since(d.FailedAt, now) + " ago"
	case d.Next.After(now):
		return "in " + since(now, d.Next)
	case !d.Next.IsZero():
		return "now"
	}
	return "when its turn comes"
}

// showDelivery prints one delivery in full.
func showDelivery(ctx context.Context, out io.Writer, client *client, id string, all, asJSON bool) error {
	answer, err := client.get(ctx, deliveryPath(id, "", all))
	if err != nil {
		return err
	}
	if asJSON {
		_, err = fmt.Fprintf(out, "%s\n", answer)
		return err
	}
	var d rest.DeliveryView
	if err := json.Unmarshal(answer, &d); err != nil {
		return core.Errorf(core.Internal, "the answer is not a delivery: %w", err)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, oneLine(value))
		}
	}
	line("id", d.ID)
	line("state", string(d.State))
	line("topic", d.Topic)
	line("procedure", d.Procedure)
	line("subscription", d.Subscription)
	line("token", d.Owner)
	line("created", stamp(d.Created))
	line("next attempt", stamp(d.Next))
	line("failed", stamp(d.FailedAt))
	line("reason", d.Reason)
	line("args", string(d.Args))
	line("kwargs", string(d.Kwargs))
	line("attempts", strconv.Itoa(d.Attempts))
	for _, t := range d.Tries {
		took := time.Duration(t.Latency * float64(time.Second)).Round(time.Millisecond)
		line("  "+stamp(t.At), fmt.Sprintf("%s (after %s)", t.Error, took))
		if t.Answer != "" && !strings.Contains(t.Error, t.Answer) {
			line("", t.Answer)
		}
	}
	return w.Flush()
}

func deliveryPath(id, verb string, all bool) string {
	path := "/deliveries/" + url.PathEscape(id) + "/" + verb
	if all {
		path += "?all=1"
	}
	return path
}

// stamp is a time for people who read logs, too.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

// oneLine keeps what others have written from moving the terminal's cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// shorten cuts a text to a number of characters.
func shorten(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
