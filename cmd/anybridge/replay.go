package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/anybridge/anybridge/core"
)

func newReplay(c cli) *cobra.Command {
	var flags clientFlags
	var which deliveryFlags
	var everything bool
	cmd := &cobra.Command{
		Use:   "replay [ID…]",
		Short: "Send dead letters again",
		Long: `Send deliveries again that have failed for good: those with these IDs, those of a topic
or a subscription, or all of the token. They get all their attempts anew. Of a delivery
that waits for another attempt, that attempt is made now.

"anybridge deliveries" lists what has failed.

` + exitHelp(),
		Example: `  anybridge replay evt_vkmcbjpyn2ijd5q3wrbvfqjzsi_sub_0f1e2d3c4b5a69788796
  anybridge replay --topic com.example.order
  anybridge replay --all`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ways := 0
			for _, given := range []bool{len(args) > 0, which.topic != "" || which.subscription != "", everything} {
				if given {
					ways++
				}
			}
			if ways != 1 {
				return usageError{cmd: cmd, message: "say what to send again: IDs, --topic or --subscription, or --all"}
			}
			client, err := flags.client(cmd, c)
			if err != nil {
				return err
			}
			ctx, stop := interruptible()
			defer stop()
			if len(args) > 0 {
				return replayEach(ctx, c, client, args, which.all)
			}
			return replayAll(ctx, c.out, client, which)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&which.topic, "topic", "", "the dead letters of this topic")
	cmd.Flags().StringVar(&which.subscription, "subscription", "", "the dead letters for the subscription with this id")
	cmd.Flags().BoolVar(&everything, "all", false, "all dead letters of the token")
	cmd.Flags().BoolVar(&which.all, "everybody", false, "also those of other tokens (needs the admin scope)")
	return cmd
}

// replayEach goes on after an error and returns the first one.
func replayEach(ctx context.Context, c cli, client *client, ids []string, all bool) error {
	var first error
	for _, id := range ids {
		_, err := client.post(ctx, deliveryPath(id, "replay/", all), map[string]any{})
		switch {
		case err == nil:
			fmt.Fprintln(c.out, id)
		case ctx.Err() != nil:
			return err
		case first == nil:
			first = err
		default:
			report(c.err, core.AsError(err))
		}
	}
	return first
}

func replayAll(ctx context.Context, out io.Writer, client *client, which deliveryFlags) error {
	body := map[string]any{}
	for name, value := range map[string]string{"topic": which.topic, "subscription": which.subscription} {
		if value != "" {
			body[name] = value
		}
	}
	answer, err := client.post(ctx, deliveryPath("replay", "", which.all), body)
	if err != nil {
		return err
	}
	var r struct {
		Replayed int `json:"replayed"`
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		return core.Errorf(core.Internal, "the answer does not say how many: %w", err)
	}
	_, err = fmt.Fprintf(out, "%d replayed\n", r.Replayed)
	return err
}
