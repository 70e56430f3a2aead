package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

type options struct {
	rows     []string
	rounds   int
	time     time.Duration
	warmup   time.Duration
	patience int
	conns    int
	// for the fan-out
	subscribers, window int

	serializer string
	product    string
	crossbar   bool
	crossbarAt string
	profile    string
	write      func(io.Writer, table) error
}

func parseOptions(args []string) (options, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	var o options
	rows := flags.String("rows", "", "numbers of the rows to run, with commas between (default all)")
	flags.IntVar(&o.rounds, "rounds", 5, "rounds of each contender")
	flags.DurationVar(&o.time, "time", 2*time.Second, "length of a round")
	flags.DurationVar(&o.warmup, "warmup", time.Second, "length of the warm-up")
	flags.IntVar(&o.patience, "patience", 5, "rounds of a row that are repeated when others use more than a tenth of the machine")
	flags.IntVar(&o.conns, "conns", 64, "connections of the load, one request in flight on each")
	flags.IntVar(&o.subscribers, "subscribers", 1000, "subscribers of row 6")
	flags.IntVar(&o.window, "window", 16, "events on their way to each subscriber in row 6")
	flags.StringVar(&o.serializer, "serializer", "json", "what WAMP callees and subscribers speak: json or msgpack")
	flags.StringVar(&o.product, "anybridge", "", "measure this binary instead of building ./cmd/anybridge")
	flags.BoolVar(&o.crossbar, "crossbar", false, "install Crossbar into .tools/crossbar-venv if it is not there")
	flags.StringVar(&o.crossbarAt, "crossbar-bin", "", "use this crossbar executable")
	flags.StringVar(&o.profile, "profile", "", "write a CPU profile of bridge and plugin for each row into this directory")
	asJSON := flags.Bool("json", false, "print JSON")
	asMarkdown := flags.Bool("markdown", false, "print a Markdown table")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(0)
		}
		return o, err
	}
	if *rows != "" {
		o.rows = strings.Split(*rows, ",")
	}
	if o.rounds < 1 || o.time <= 0 || o.conns < 1 || o.subscribers < 1 || o.window < 1 || o.serializer != "json" && o.serializer != "msgpack" {
		return o, errors.New("the numbers must be positive, --serializer json or msgpack")
	}
	switch {
	case *asJSON:
		o.write = writeJSON
	case *asMarkdown:
		o.write = writeMarkdown
	default:
		o.write = writeText
	}
	return o, nil
}

func (o options) describe() string {
	return fmt.Sprintf("%d rounds of %v after %v, %d connections, WAMP in %s", o.rounds, o.time, o.warmup, o.conns, o.serializer)
}
