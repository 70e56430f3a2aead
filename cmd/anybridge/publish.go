package main

import (
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/anybridge/anybridge/core"
)

func newPublish(c cli) *cobra.Command {
	var flags clientFlags
	var kwargs string
	cmd := &cobra.Command{
		Use:   "publish TOPIC [ARG…]",
		Short: "Publish an event and print its id",
		Long: `Publish an event through a running bridge and print the event's id once the
backend has accepted it.

An ARG that is JSON is sent as it is, digit by digit; anything else is a string.

` + exitHelp(),
		Example: `  anybridge publish com.example.hello world
  anybridge publish com.example.order '{"id": 7}' --kwargs '{"urgent": true}'
  anybridge publish plant:com.example.alarm -40.5`,
		Args: needArgs(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := payload(cmd, args[1:], kwargs)
			if err != nil {
				return err
			}
			client, err := flags.client(cmd, c)
			if err != nil {
				return err
			}
			ctx, stop := interruptible()
			defer stop()
			answer, err := client.post(ctx, "/publish/"+url.PathEscape(args[0])+"/", body)
			if err != nil {
				return err
			}
			var event struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(answer, &event); err != nil {
				return core.Errorf(core.Internal, "the answer has no id: %w", err)
			}
			_, err = fmt.Fprintln(c.out, event.ID)
			return err
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&kwargs, "kwargs", "", "keyword arguments, a JSON object")
	return cmd
}
