// Package roles holds what the processes beside the product do during a
// measurement: loads, callees, sinks and the hand-written floors. Each runs as a
// process of its own, because in reality each would, and because only then has
// each its own CPU time and memory in /proc.
//
// A role speaks JSON lines: it writes one Ready when it serves, then reads
// Commands from stdin and answers each with one Report. It ends with its stdin,
// so that no role outlives the bench.
package roles

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

// Ready is the first line a role writes.
type Ready struct {
	Addr     string `json:"addr,omitempty"`     // host:port it listens on
	Feedback string `json:"feedback,omitempty"` // host:port where a sink streams its count
	Error    string `json:"error,omitempty"`    // it could not start
}

// Command asks a role to do something.
type Command struct {
	Do      string        `json:"do"` // Run or Drain
	For     time.Duration `json:"for,omitempty"`
	Expect  int64         `json:"expect,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"`
}

// What can be commanded.
const (
	Run   = "run"   // a load: work for Command.For
	Drain = "drain" // a sink: wait until Command.Expect events have come since the last Drain, then report and forget them
)

// Report is the answer to a Command.
type Report struct {
	Ops        int64         `json:"ops"`
	Errors     int64         `json:"errors,omitempty"`
	FirstError string        `json:"first_error,omitempty"`
	Elapsed    time.Duration `json:"elapsed"`
	P50        time.Duration `json:"p50"`
	P99        time.Duration `json:"p99"`
}

// role is a running role: what it is ready with, and how it answers.
type role struct {
	ready Ready
	do    func(Command) Report
	close func()
}

// starter parses args and starts a role.
type starter func(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error)

func starters() map[string]starter {
	return map[string]starter{
		"callee-http":   startHTTPCallee,
		"callee-wamp":   startWAMPCallee,
		"echo":          startEcho,
		"fanout":        startFanout,
		"forward-http":  startHTTPForwarder,
		"forward-redis": startRedisForwarder,
		"forward-ws":    startWebSocketForwarder,
		"load-call":     startCallLoad,
		"load-http":     startHTTPLoad,
		"load-publish":  startPublishLoad,
		"loop-redis":    startRedisLoop,
		"nexus":         startNexus,
		"sink-http":     startHTTPSink,
		"sink-redis":    startRedisSink,
		"sink-wamp":     startWAMPSink,
	}
}

// Main runs the role named by args[0] until stdin ends, and returns the exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) int {
	out := json.NewEncoder(stdout)
	start, ok := starters()[args[0]]
	if !ok {
		fmt.Fprintf(os.Stderr, "no role %q\n", args[0])
		return 2
	}
	r, err := start(ctx, flag.NewFlagSet(args[0], flag.ContinueOnError), args[1:])
	if err != nil {
		_ = out.Encode(Ready{Error: err.Error()})
		return 1
	}
	defer r.close()
	if err := out.Encode(r.ready); err != nil {
		return 1
	}
	lines := bufio.NewScanner(stdin)
	for lines.Scan() {
		var c Command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil || r.do == nil {
			fmt.Fprintf(os.Stderr, "no command %q for %s\n", lines.Text(), args[0])
			return 2
		}
		if err := out.Encode(r.do(c)); err != nil {
			return 1
		}
	}
	return 0
}
