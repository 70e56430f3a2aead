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
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

var _ runner.Runner = (*childRunner)(nil)

// childRunner runs the child for go-plugin, in a process group of its own, with a
// stdin that tells it when the host is gone, and with its stderr in our log.
// go-plugin notices a death only when the pipes are closed, which a grandchild can
// prevent; exited is closed as soon as the process is dead.
type childRunner struct {
	cmd *exec.Cmd
	log childLog

	stdin  *os.File // never written to
	stdout *os.File
	stderr *os.File

	pid    atomic.Int64 // 0 before the start
	killed atomic.Bool
	exited chan struct{}
	exit   error          // of cmd.Wait; set before exited is closed
	pumps  sync.WaitGroup // until stderr has been read to its end
	hello  firstLine
}

// pipeGrace is how long after a death its pipes are still read: a grandchild that
// has left the process group may hold them open.
const pipeGrace = time.Second

func newChildRunner(path string, args, env []string, log *slog.Logger) *childRunner {
	cmd := exec.Command(path, args...) //nolint:gosec,noctx // the operator names it; its life is the supervisor's
	cmd.Env = env
	ownGroup(cmd)
	return &childRunner{cmd: cmd, log: childLog{handler: log.Handler()}, exited: make(chan struct{})}
}

// Start implements runner.Runner.
func (r *childRunner) Start(context.Context) error {
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}()
	stdin, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	theirs = append(theirs, stdin)
	r.stdin, r.cmd.Stdin = ours, stdin
	stdout, w, err := os.Pipe()
	if err != nil {
		r.closePipes()
		return err
	}
	theirs = append(theirs, w)
	r.stdout, r.cmd.Stdout = stdout, w
	stderr, w, err := os.Pipe()
	if err != nil {
		r.closePipes()
		return err
	}
	theirs = append(theirs, w)
	r.stderr, r.cmd.Stderr = stderr, w
	if err := r.cmd.Start(); err != nil {
		r.closePipes()
		return err
	}
	r.pid.Store(int64(r.cmd.Process.Pid))
	r.pumps.Go(func() { r.log.read(r.stderr) })
	go r.watch()
	if r.killed.Load() {
		r.kill()
	}
	return nil
}

func (r *childRunner) closePipes() {
	for _, f := range []*os.File{r.stdin, r.stdout, r.stderr} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// watch owns the process until it is dead.
func (r *childRunner) watch() {
	r.exit = reap(r.cmd)
	_ = r.stdin.Close()
	deadline := time.Now().Add(pipeGrace)
	_ = r.stdout.SetReadDeadline(deadline)
	_ = r.stderr.SetReadDeadline(deadline)
	close(r.exited)
	r.pumps.Wait()
	_ = r.stderr.Close()
}

// Wait implements runner.AttachedRunner. go-plugin calls it when stdout has ended.
func (r *childRunner) Wait(context.Context) error {
	<-r.exited
	r.pumps.Wait()
	_ = r.stdout.Close()
	return r.exit
}

// Kill implements runner.AttachedRunner: it takes the whole group.
func (r *childRunner) Kill(context.Context) error {
	r.kill()
	return nil
}

// kill kills the process and its group, now or as soon as it has been started.
func (r *childRunner) kill() {
	r.killed.Store(true)
	select {
	case <-r.exited: // the number may be somebody else's
	default:
		if pid := r.pid.Load(); pid != 0 {
			killGroup(int(pid))
		}
	}
}

// exitedByItself reports whether the process is dead, and not because of kill.
func (r *childRunner) exitedByItself() bool {
	select {
	case <-r.exited:
		return !r.killed.Load() || r.exit == nil || r.exit.Error() != "signal: killed"
	default:
		return false
	}
}

// exitGrace is how long after its connection broke a process may be found dead: on
// a busy machine the news of the two may arrive in this order.
const exitGrace = time.Second

// exitedSoon reports whether the process has died by itself, and gives it exitGrace.
func (r *childRunner) exitedSoon() bool {
	select {
	case <-r.exited:
	case <-time.After(exitGrace):
	}
	return r.exitedByItself()
}

// lastWords is what is known about the exit, for people. The process must be dead.
func (r *childRunner) lastWords() string {
	r.pumps.Wait()
	reason := "exit status 0"
	if r.exit != nil {
		reason = r.exit.Error()
	}
	if last := r.log.last(); last != "" {
		reason += ": " + last
	}
	return reason
}

// Stdout implements runner.Runner.
func (r *childRunner) Stdout() io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r.stdout, &r.hello), r.stdout}
}

// Stderr implements runner.Runner. We read the child's ourselves: go-plugin's
// reader splits long lines and flattens attributes.
func (r *childRunner) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (r *childRunner) Name() string { return r.cmd.Path }

// ID implements runner.AttachedRunner.
func (r *childRunner) ID() string {
	if pid := r.pid.Load(); pid != 0 {
		return strconv.FormatInt(pid, 10)
	}
	return ""
}

// Diagnose implements runner.Runner; startError says more.
func (r *childRunner) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.AddrTranslator.
func (r *childRunner) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (r *childRunner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// firstLine keeps the first line that is written to it, up to a bound.
type firstLine struct {
	mu   sync.Mutex
	line strings.Builder
	done bool
}

func (f *firstLine) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range p {
		if f.done || c == '\n' || f.line.Len() == 4096 {
			f.done = true
			break
		}
		f.line.WriteByte(c)
	}
	return len(p), nil
}

func (f *firstLine) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.line.String()
}
