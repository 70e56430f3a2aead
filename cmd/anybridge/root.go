package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// cli is what the verbs use of the process they run in.
type cli struct {
	in        io.Reader
	out, err  io.Writer
	lookupEnv func(string) (string, bool)
}

// env is a variable's value, or "".
func (c cli) env(name string) string {
	value, _ := c.lookupEnv(name)
	return value
}

// run executes one command line and returns the exit code.
func run(args []string, c cli) int {
	root := newRoot(c)
	root.SetArgs(protectNegativeNumbers(root, args))
	return exitCode(c, root.Execute())
}

func newRoot(c cli) *cobra.Command {
	root := &cobra.Command{
		Use:   "anybridge",
		Short: "Real-time messaging for programs that speak nothing but HTTP",
		Long: `anybridge lets any web application take part in real-time messaging with nothing
but HTTP: a URL becomes a remote procedure or receives events, and a POST calls a
procedure or publishes an event. On the other side stand WAMP and whatever a plugin
adds.

"anybridge serve" runs a bridge; the other commands talk to one, or help with its
configuration.`,
		Example: `  anybridge serve
  anybridge publish com.example.hello '"world"'
  anybridge call com.example.add2 20 22`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			msg := "unknown command " + quoted(args[0])
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				msg += ": did you mean " + strings.Join(near, " or ") + "?"
			}
			return usageError{cmd: cmd, message: msg}
		},
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{cmd: cmd, message: err.Error()} })
	root.AddCommand(
		newServe(c), newCheck(c), newInit(c), newSchema(c), newToken(c),
		newCall(c), newPublish(c), newDeliveries(c), newReplay(c), newRoute(c), newStatus(c), newReload(c), newVersion(c), newPlugin(c), newBackend(c),
	)
	return root
}

// interruptible is a context that ends with Ctrl-C or SIGTERM.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// needArgs accepts from least to most arguments (most < 0: any number); what they
// are is said in the command's Use.
func needArgs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageError{cmd: cmd, message: "something is missing: want " + cmd.UseLine()}
		case most >= 0 && len(args) > most:
			return usageError{cmd: cmd, message: "too many arguments: want " + cmd.UseLine()}
		}
		return nil
	}
}
