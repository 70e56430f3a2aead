package plugins

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/anybridge/anybridge/core"
)

// process is one run of the plugin's executable, connected.
type process struct {
	child   *childRunner
	manager *goplugin.Client
	conn    *grpc.ClientConn
	output  *childOutput
	dir     string // of the socket
	started time.Time
}

// startProcess runs the executable and connects to it. When ctx ends before that
// is done the child is killed.
func startProcess(ctx context.Context, spec Spec, log *slog.Logger) (*process, error) {
	path, err := executable(spec)
	if err != nil {
		return nil, err
	}
	p := &process{output: newChildOutput(log), started: time.Now()}
	started := make(chan struct{})
	p.manager = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: handshake(),
		Plugins:         goplugin.PluginSet{pluginName: wire{}},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			p.dir = dir
			p.child = newChildRunner(path, spec.Command[1:], childEnv(spec, cmd.Env, log), log)
			close(started)
			return p.child, nil
		},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     spec.Limits.StartTimeout,
		Logger:           hclog.NewNullLogger(), // what matters is in our errors
		SyncStdout:       p.output.stdout,
		SyncStderr:       p.output.stderr,
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxGRPCMessage), grpc.MaxCallSendMsgSize(maxGRPCMessage)),
			grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connectionWindow),
			grpc.WithReadBufferSize(socketBuffer), grpc.WithWriteBufferSize(socketBuffer),
			grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(), grpc.WithIdleTimeout(0),
		},
	})
	giveUp := context.AfterFunc(ctx, func() {
		select {
		case <-started:
			p.child.kill()
		default:
		}
	})
	defer giveUp()
	conn, err := p.connect()
	if ctx.Err() != nil && err == nil {
		err = core.AsError(ctx.Err())
	}
	if err != nil {
		p.kill()
		if p.child == nil {
			return nil, refused(spec, "%s: %w", path, err)
		}
		return nil, startError(spec, path, p.child, err)
	}
	p.conn = conn
	return p, nil
}

func (p *process) connect() (*grpc.ClientConn, error) {
	client, err := p.manager.Client()
	if err != nil {
		return nil, err
	}
	conn, err := client.Dispense(pluginName)
	if err != nil {
		return nil, err
	}
	return conn.(*grpc.ClientConn), nil
}

// childEnv is the child's whole environment: what go-plugin has put together, a
// minimum of our own, and what the Spec says, which comes last and so wins.
func childEnv(spec Spec, handshake []string, log *slog.Logger) []string {
	var env []string
	for _, key := range []string{"PATH", "HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	env = append(env, logLevelEnv+"="+leastLevel(log).String())
	env = append(env, spec.Env...)
	return append(env, handshake...)
}

// leastLevel is the lowest of the usual levels that the log takes.
func leastLevel(log *slog.Logger) slog.Level {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(context.Background(), level) {
			return level
		}
	}
	return slog.LevelError
}

// startError says why a process did not become a plugin, from what it did.
func startError(spec Spec, path string, child *childRunner, cause error) error {
	hello := child.hello.String()
	fields := strings.Split(hello, "|")
	switch {
	case child.pid.Load() == 0:
		return refused(spec, "%s cannot be run: %w", path, cause)
	case hello == "" && child.exitedByItself():
		return refused(spec, "%s exited before the handshake (%s): a plugin's main calls plugins.Serve and nothing else; run it by hand to see more", path, child.lastWords())
	case hello == "":
		return core.Errorf(core.Unavailable, "backend %q: plugin %s gave no sign within %s: %w", spec.Name, path, spec.Limits.StartTimeout, cause)
	case len(fields) < 5:
		return refused(spec, "%s is not an anybridge plugin: the first line on its stdout is %q; a plugin calls plugins.Serve and writes nothing to stdout before", path, clip(hello, 80))
	case fields[0] != strconv.Itoa(goplugin.CoreProtocolVersion) || fields[1] != strconv.Itoa(protocolVersion):
		return refused(spec, "%s speaks version %s of the plugin protocol, this bridge speaks %d: rebuild the plugin against this version of anybridge", path, fields[1], protocolVersion)
	case fields[4] != string(goplugin.ProtocolGRPC):
		return refused(spec, "%s speaks %s, only grpc is accepted: rebuild it with plugins.Serve", path, fields[4])
	}
	return core.Errorf(core.Unavailable, "backend %q: connect plugin %s: %w", spec.Name, path, cause)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}

// ping asks the process whether it is alive, and reports an error if it has not
// answered within the timeout.
func (p *process) ping(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := grpc_health_v1.NewHealthClient(p.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
	if status.Code(err) == codes.DeadlineExceeded {
		return core.Errorf(core.Unavailable, "hung: no answer to a health check within %s", timeout)
	}
	return nil // whatever else is wrong shows elsewhere
}

// shutdownGrace is what a process has for exiting after it was asked to.
const shutdownGrace = 2 * time.Second

// stop asks the process to exit, and kills it if it does not. It returns when the
// process, its group and everything that belongs to them on this side are gone.
func (p *process) stop() {
	timer := time.AfterFunc(shutdownGrace, p.child.kill)
	defer timer.Stop()
	p.cleanUp()
}

// kill is stop without asking.
func (p *process) kill() {
	if p.child != nil {
		p.child.kill()
		if p.child.pid.Load() != 0 {
			<-p.child.exited
		}
	}
	p.cleanUp()
}

func (p *process) cleanUp() {
	p.manager.Kill()
	p.output.close()
	if p.dir != "" {
		_ = os.RemoveAll(p.dir) // go-plugin leaves it behind when the child did not start
	}
}

// childOutput logs what the child prints to its stdout and stderr once go-plugin
// has redirected them.
type childOutput struct {
	stdout, stderr *io.PipeWriter
	readers        sync.WaitGroup
}

func newChildOutput(log *slog.Logger) *childOutput {
	o := &childOutput{}
	for _, w := range []**io.PipeWriter{&o.stdout, &o.stderr} {
		r, pipe := io.Pipe()
		*w = pipe
		o.readers.Go(func() { (&childLog{handler: log.Handler()}).read(r) })
	}
	return o
}

func (o *childOutput) close() {
	_ = o.stdout.Close()
	_ = o.stderr.Close()
	o.readers.Wait()
}
