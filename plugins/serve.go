package plugins

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/internal/pb"
)

// Env is what a backend gets from the process it runs in.
type Env struct {
	// Log writes to the bridge's log: records arrive there with their level, time
	// and attributes, and with the backend's name. It is slog's default logger too.
	Log *slog.Logger
}

// Serve runs a backend as a plugin process and returns when the bridge is done
// with it. It is all that a plugin's main does:
//
//	func main() {
//		plugins.Serve(func(env plugins.Env) core.Backend { return &mine{log: env.Log} })
//	}
//
// newBackend is called once, when the bridge opens the backend. Until then nothing
// may be written to stdout: the bridge reads it for the handshake. Later output to
// stdout and stderr goes to the bridge's log line by line.
//
// The bridge stops its plugins itself: SIGTERM and SIGINT are ignored, so that a
// signal to all processes of a service does not take the backends away from a bridge that
// is still draining. When the bridge is gone, the process and its children are
// killed. Started by anybody else, Serve says so and exits with status 1.
func Serve(newBackend func(Env) core.Backend) {
	if os.Getenv(cookieKey) != cookieValue {
		fmt.Fprintf(os.Stderr, "This program is a backend for anybridge, which runs it. Put its path into the bridge's configuration:\n\n  backends:\n    NAME: {plugin: %s}\n", os.Args[0])
		os.Exit(1)
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: logLevel(os.Getenv(logLevelEnv))}))
	slog.SetDefault(log)
	go watchHost(os.Stdin)
	ignoreSignals(log)

	s := &server{newBackend: newBackend, env: Env{Log: log}, log: log}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: handshake(),
		Plugins:         goplugin.PluginSet{pluginName: wire{register: func(g *grpc.Server) { pb.RegisterBackendServer(g, s) }}},
		Logger:          hclog.New(&hclog.LoggerOptions{Output: os.Stderr, JSONFormat: true, Level: hclog.Warn}),
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options,
				grpc.MaxRecvMsgSize(maxGRPCMessage), grpc.MaxSendMsgSize(maxGRPCMessage),
				grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connectionWindow),
				grpc.ReadBufferSize(socketBuffer), grpc.WriteBufferSize(socketBuffer))...)
		},
	})

	// Told to stop without having been closed: the host kills us 2 s later.
	ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer cancel()
	if err := s.close(ctx); err != nil {
		log.Error("backend not closed", slog.Any("error", err))
	}
}

func logLevel(name string) slog.Level {
	level := slog.LevelInfo
	_ = level.UnmarshalText([]byte(name)) // an unknown name leaves the default
	return level
}

// watchHost ends the process when the host does: stdin is a pipe whose other end
// only the host holds, and which the kernel closes however the host dies.
func watchHost(stdin *os.File) {
	info, err := stdin.Stat()
	if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return // not started by Launch
	}
	_, _ = io.Copy(io.Discard, stdin)
	removeSocket(os.Getenv(goplugin.EnvUnixSocketDir))
	killOwnGroup()
}

// removeSocket does for a dead host what it would have done at the end.
func removeSocket(dir string) {
	if dir == "" {
		return
	}
	sockets, err := filepath.Glob(filepath.Join(dir, "plugin*"))
	if err != nil {
		return
	}
	for _, path := range sockets {
		_ = os.Remove(path) //nolint:gosec // the host named the directory
	}
	_ = os.Remove(dir) //nolint:gosec // fails unless it is empty
}

// ignoreSignals does not use signal.Ignore, which children would inherit.
func ignoreSignals(log *slog.Logger) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for s := range signals {
			log.Info("signal ignored: the bridge stops its backends", slog.String("signal", s.String()))
		}
	}()
}
