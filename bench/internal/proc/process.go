// Package proc starts the processes of a measurement, and reads from /proc what
// they cost. It knows Linux only.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Spec says what to start.
type Spec struct {
	Name string // as the table shows it
	Path string
	Args []string
	Dir  string
	Env  []string // added to the environment of this process
	// Child names a descendant by its command line; nil if there are none.
	Child func(cmdline string) string
}

// Process is one started process, with its descendants.
type Process struct {
	Spec   Spec
	Stdin  io.WriteCloser
	Stdout *os.File // a pipe, so it takes deadlines

	cmd  *exec.Cmd
	log  tail
	done chan struct{}
}

// Start starts a process in a group of its own. It gets a SIGKILL when the
// *thread* that called Start ends, so call it from a goroutine that is locked to
// the main thread: then nothing outlives the bench, however that ends.
func Start(spec Spec) (*Process, error) {
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Dir = spec.Dir
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &Process{Spec: spec, cmd: cmd, done: make(chan struct{})}
	cmd.Stderr = &p.log
	cmd.WaitDelay = 200 * time.Millisecond // a descendant may hold stderr open
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	// A pipe of our own: cmd.StdoutPipe would be closed by Wait.
	stdout, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	cmd.Stdout = w
	p.Stdin, p.Stdout = stdin, stdout
	err = cmd.Start()
	w.Close()
	if err != nil {
		stdout.Close()
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	go func() {
		defer close(p.done)
		// How it ended is in the log, or was our own signal.
		_ = cmd.Wait()
	}()
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop asks the process to end, insists after a while, and clears its process
// group. It may be called more than once.
func (p *Process) Stop() error {
	select {
	case <-p.done:
		return p.Stdout.Close()
	default:
	}
	p.Stdin.Close()
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		err = errors.Join(err, fmt.Errorf("stop %s: had to be killed", p.Spec.Name))
	}
	// What is left of the group, if anything: a worker that did not follow.
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	<-p.done
	return errors.Join(err, p.Stdout.Close())
}

// Kill ends the process without a warning, waits until it is gone, and clears its
// process group.
func (p *Process) Kill() error {
	err := p.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-p.done
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	return err
}

// Log returns the end of what the process wrote to stderr.
func (p *Process) Log() string { return p.log.String() }

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 4096

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if over := len(t.b) - tailSize; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
