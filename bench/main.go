// Command bench measures anybridge side by side with what it competes with: the
// few lines somebody would write by hand (the floor), plain nexus, and Crossbar's
// HTTP bridge. It prints one table; docs/benchmarks.md explains it.
//
//	go run ./bench                         every row, five rounds of two seconds
//	go run ./bench --rows 1,3 --time 1s    some rows, shorter
//	go run ./bench --crossbar              with Crossbar, installed into .tools/crossbar-venv
//	go run ./bench --profile DIR           with a CPU profile of bridge and plugin for each row
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/anybridge/anybridge/bench/internal/roles"
)

func main() {
	// Children die with the thread that started them (see proc.Start).
	runtime.LockOSThread()
	if len(os.Args) > 2 && os.Args[1] == "role" {
		// No signals: a role ends with its stdin.
		os.Exit(roles.Main(context.Background(), os.Args[2:], os.Stdin, os.Stdout))
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	opt, err := parseOptions(args)
	if err != nil {
		return err
	}
	selected, err := selectRows(opt.rows)
	if err != nil {
		return err
	}
	l, err := newLab(ctx, opt, os.Stderr)
	if err != nil {
		return err
	}
	defer l.close()
	t := table{Machine: readMachine(), Command: strings.TrimSpace("go run ./bench " + strings.Join(args, " ")), Options: opt.describe()}
	for _, r := range selected {
		if ctx.Err() != nil {
			break // print what there is
		}
		t.Rows = append(t.Rows, l.measure(ctx, r))
	}
	if err := opt.write(os.Stdout, t); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errors.New("interrupted, the table is not complete")
	}
	return nil
}
