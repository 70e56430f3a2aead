package main

import (
	"context"
	"fmt"
	stdlog "log"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
)

func newServe(c cli) *cobra.Command {
	l := loader{lookupEnv: c.lookupEnv}
	var logs logFlags
	var drain time.Duration
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the bridge",
		Long: `Run the bridge until SIGTERM or SIGINT (Ctrl-C), which lets requests and deliveries
under way finish; a second signal stops at once. SIGHUP applies a changed
configuration.

Without a configuration: REST on ` + config.DefaultListen + `, a WAMP router on
ws://127.0.0.1:8080/ws with the realm realm1 (anonymous, from this machine only),
data in ./` + config.DefaultDataDir + `, and one token with every right, which is made on the
first start and kept in ` + config.DefaultDataDir + `/token, or taken from ANYBRIDGE_TOKEN.`,
		Example: `  anybridge serve
  anybridge serve --config /etc/anybridge.yaml --log-format json
  anybridge serve --listen 127.0.0.1:0 --data-dir /tmp/bridge`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(cmd, c.err)
			if err != nil {
				return err
			}
			return serve(c, &l, log, drain)
		},
	}
	cmd.Flags().StringVar(&l.file, "config", "", "the configuration (default ./"+config.DefaultFile+" if it is there)")
	cmd.Flags().StringVar(&l.listen, "listen", "", "where the REST API listens, instead of what the configuration says")
	cmd.Flags().StringVar(&l.dataDir, "data-dir", "", "where data is kept, instead of what the configuration says")
	cmd.Flags().DurationVar(&drain, "drain-timeout", 10*time.Second, "how long a stop waits for what is under way")
	logs.add(cmd)
	return cmd
}

// serve runs a bridge until a signal ends it.
func serve(c cli, l *loader, log *slog.Logger, drain time.Duration) error {
	// net/http logs by itself what other servers do wrong, which may be a lot.
	stdlog.SetOutput(slog.NewLogLogger(log.Handler(), slog.LevelDebug).Writer())
	stdlog.SetFlags(0)
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	stops, hangups := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(stops, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stops)
	signal.Notify(hangups, syscall.SIGHUP)

	a, err := newApp(appOptions{Load: l.load, Program: program, LookupEnv: c.lookupEnv, Log: log})
	if err != nil {
		return err
	}
	if a.config.File != "" {
		log.Info("configuration read", slog.String("file", a.config.File))
	}
	if stopped, err := start(a, stops); stopped || err != nil {
		return err
	}
	banner(c.out, a)

	var reloads sync.WaitGroup
	reloads.Go(func() {
		for range hangups {
			a.hangUp()
		}
	})
	var failure error
	select {
	case <-stops:
	case failure = <-a.failed:
	}
	signal.Stop(hangups)
	close(hangups)
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	go func() {
		select {
		case <-stops:
			log.Warn("stopping at once")
			cancel()
		case <-ctx.Done():
		}
	}()
	_ = a.Stop(ctx) // it logs what was cut off
	reloads.Wait()
	return failure
}

// start starts the app, unless a signal ends it first.
func start(a *app, stops <-chan os.Signal) (stopped bool, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- a.Start(ctx) }()
	select {
	case err := <-started:
		return false, err
	case <-stops:
	}
	cancel()
	if err := <-started; err == nil {
		_ = a.Stop(ctx)
	}
	return true, nil
}
