package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/anybridge/anybridge/core"
)

// callGrace is how much longer than --timeout the client waits for the bridge to
// say that the deadline passed.
const callGrace = 5 * time.Second

func newCall(c cli) *cobra.Command {
	var flags clientFlags
	var kwargs string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "call PROC [ARG…]",
		Short: "Call a procedure and print its result",
		Long: `Call a procedure through a running bridge and print its result.

An ARG that is JSON is sent as it is, digit by digit; anything else is a string.
To send the string 5, write '"5"'.

One positional result alone is printed as that JSON value, and no result at all as
null; otherwise the whole result is printed as {"args": […], "kwargs": {…}}.
Ctrl-C cancels the call all the way to the procedure.

` + exitHelp(),
		Example: `  anybridge call com.example.add2 20 22
  anybridge call com.example.greet Ada --kwargs '{"polite": true}'
  anybridge call com.example.report '{"year": 2026}' --timeout 2m
  anybridge call plant:com.example.restart`,
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
			if cmd.Flags().Changed("timeout") {
				if timeout <= 0 {
					return usageError{cmd: cmd, message: "--timeout must be more than 0"}
				}
				body["timeout"] = timeout.String()
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, timeout+callGrace)
				defer cancel()
			}
			answer, err := client.post(ctx, "/call/"+url.PathEscape(args[0])+"/", body)
			if err != nil {
				return err
			}
			result, err := shortResult(answer)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "%s\n", result)
			return err
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&kwargs, "kwargs", "", "keyword arguments, a JSON object")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long the procedure may take, such as 30s (default: the bridge's)")
	return cmd
}

// shortResult is what call prints of an answer.
func shortResult(answer []byte) (json.RawMessage, error) {
	var result struct {
		Args   []json.RawMessage          `json:"args"`
		Kwargs map[string]json.RawMessage `json:"kwargs"`
	}
	if err := json.Unmarshal(answer, &result); err != nil {
		return nil, core.Errorf(core.Internal, "the answer is not a result: %w", err)
	}
	switch {
	case len(result.Kwargs) > 0 || len(result.Args) > 1:
		return answer, nil
	case len(result.Args) == 1:
		return result.Args[0], nil
	}
	return json.RawMessage("null"), nil
}
