package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
	"github.com/anybridge/anybridge/core"
)

// Exit codes beside those of the table.
const (
	exitOK      = 0
	exitFailure = 1 // whatever has no code of its own; mistakes in a configuration
	exitUsage   = 2
)

// exit is one row of the table that turns codes into exit codes.
type exit struct {
	code  int
	codes []core.Code
	what  string
}

func exits() []exit {
	return []exit{
		{exitUsage, []core.Code{core.InvalidArgument, core.TooLarge, core.KeyReused, core.CallbackForbidden}, "the command line or the request is wrong"},
		{3, []core.Code{core.Unauthenticated, core.Forbidden}, "the token is missing, unknown, or may not"},
		{4, []core.Code{core.NoSuchProcedure, core.NoSuchBackend, core.NotFound}, "there is no such procedure or backend"},
		{5, []core.Code{core.AlreadyExists}, "somebody else has it"},
		{6, []core.Code{core.TooMany}, "too many requests: try again later"},
		{7, []core.Code{core.Application}, "the procedure raised an error"},
		{8, []core.Code{core.Timeout}, "the deadline passed"},
		{9, []core.Code{core.Unavailable, core.CallbackFailed}, "the bridge, the backend or the app behind it cannot be reached"},
		{10, []core.Code{core.Unimplemented}, "the backend cannot do this"},
		{130, []core.Code{core.Canceled}, "interrupted"},
	}
}

// exitHelp explains the exit codes in a command's help.
func exitHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n  0    done\n  1    any other error\n")
	for _, e := range exits() {
		fmt.Fprintf(&b, "  %-4d %s\n", e.code, e.what)
	}
	return strings.TrimRight(b.String(), "\n")
}

// exitCode reports the error of a command on stderr, with what can be done about
// it, and returns the exit code.
func exitCode(c cli, err error) int {
	if err == nil {
		return exitOK
	}
	if usage, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(c.err, "anybridge: %s\n(%s --help shows how it is used)\n", usage.message, usage.cmd.CommandPath())
		return exitUsage
	}
	if mistakes, ok := errors.AsType[config.Errors](err); ok {
		fmt.Fprintf(c.err, "%v\n\n%s\n", mistakes, plural(len(mistakes), "mistake"))
		return exitFailure
	}
	if e, ok := errors.AsType[*core.Error](err); ok {
		report(c.err, e)
		for _, row := range exits() {
			for _, code := range row.codes {
				if code == e.Code {
					return row.code
				}
			}
		}
		return exitFailure
	}
	fmt.Fprintf(c.err, "anybridge: %v\n", err)
	return exitFailure
}

// report prints an error with what a procedure raised, and what to do next.
func report(w io.Writer, e *core.Error) {
	fmt.Fprintf(w, "anybridge: %v\n", e)
	if e.Args != nil {
		fmt.Fprintf(w, "  args   %s\n", e.Args)
	}
	if e.Kwargs != nil {
		fmt.Fprintf(w, "  kwargs %s\n", e.Kwargs)
	}
	if hint := hint(e.Code); hint != "" {
		fmt.Fprintf(w, "  → %s\n", hint)
	}
}

// hint is what the one at the terminal can do about an error.
func hint(code core.Code) string {
	switch code {
	case core.Unauthenticated:
		return "give a token with --token or ANYBRIDGE_TOKEN; a bridge started here without tokens keeps its own in anybridge-data/token"
	case core.Forbidden:
		return "the token's allow in the bridge's configuration decides what it may do"
	case core.NoSuchProcedure:
		return "check the name, and that the program which registers it is connected"
	case core.NoSuchBackend:
		return "anybridge status lists the backends; the part before the first colon names one"
	case core.CallbackFailed:
		return "the app that registered this procedure answered wrongly or not at all: see its log"
	case core.TooMany, core.Unavailable:
		return "try again in a moment; anybridge status shows how the backends are"
	case core.Timeout:
		return "--timeout allows more time"
	}
	return ""
}

// usageError is a command line that is wrong.
type usageError struct {
	cmd     *cobra.Command
	message string
}

func (e usageError) Error() string { return e.message }

func quoted(s string) string { return fmt.Sprintf("%q", s) }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
