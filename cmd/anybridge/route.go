package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/routes"
)

func newRoute(c cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "route",
		Short:   "Try the configured routes",
		Example: `  anybridge route test wamp:com.app.position 12`,
		Args:    needArgs(0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRouteTest(c))
	return cmd
}

func newRouteTest(c cli) *cobra.Command {
	l := loader{lookupEnv: c.lookupEnv}
	var kwargs, details string
	cmd := &cobra.Command{
		Use:   "test ADDRESS [ARG…]",
		Short: "Show what the routes would do with an event",
		Long: `Show what the configured routes would do with an event on ADDRESS: where it would be
published, and with which payload. Nothing is sent, and no bridge has to run.

An ARG that is JSON is taken as it is; anything else is a string. The exit code is 1 if
an expression fails.`,
		Example: `  anybridge route test wamp:com.app.position '{"name": "red", "speed": 12}'
  anybridge route test irc:#ops "server is down" --details '{"publisher": "alice"}'`,
		Args: needArgs(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			conf, err := l.load()
			if err != nil {
				return err
			}
			event, err := sampleEvent(cmd, conf, args, kwargs, details)
			if err != nil {
				return err
			}
			return printTrials(c, routes.Try(conf.Routes, event), event.Topic)
		},
	}
	cmd.Flags().StringVar(&l.file, "config", "", "the configuration (default ./"+config.DefaultFile+")")
	cmd.Flags().StringVar(&kwargs, "kwargs", "", "keyword arguments, a JSON object")
	cmd.Flags().StringVar(&details, "details", "", "what the backend tells of the event, a JSON object")
	return cmd
}

// sampleEvent is the event that the command line describes.
func sampleEvent(cmd *cobra.Command, conf *config.Config, args []string, kwargs, details string) (*core.Event, error) {
	topic, err := core.ParseAddress(args[0], conf.DefaultBackend)
	if err != nil {
		return nil, err
	}
	body, err := payload(cmd, args[1:], kwargs)
	if err != nil {
		return nil, err
	}
	event := &core.Event{ID: "evt_sample", Topic: topic}
	if event.Args, err = json.Marshal(body["args"]); err != nil {
		return nil, core.Errorf(core.Internal, "encode args: %w", err)
	}
	event.Kwargs, _ = body["kwargs"].(json.RawMessage)
	if details == "" {
		return event, nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(details), &object) != nil {
		return nil, usageError{cmd: cmd, message: `--details must be a JSON object, such as '{"publisher": "alice"}'`}
	}
	event.Details = json.RawMessage(details)
	return event, nil
}

func printTrials(c cli, trials []routes.Trial, topic core.Address) error {
	failed := 0
	for _, t := range trials {
		switch {
		case t.Err != nil:
			failed++
			fmt.Fprintf(c.out, "%s -> %s\n  fails: %v\n", t.Route, t.To, t.Err)
		case t.Event == nil:
			fmt.Fprintf(c.out, "%s -> %s\n  leaves it: when is false\n", t.Route, t.To)
		default:
			fmt.Fprintf(c.out, "%s -> %s\n  publishes %s\n  as text   %s\n", t.Route, t.Event.Topic, t.Event.JSON(), t.Event.Text())
		}
	}
	switch {
	case len(trials) == 0:
		fmt.Fprintf(c.out, "no route begins at %s\n", topic)
	case failed > 0:
		return fmt.Errorf("%d of %s failed", failed, plural(len(trials), "route"))
	}
	return nil
}
