package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/anybridge/anybridge/bench/internal/proc"
	"github.com/anybridge/anybridge/bench/internal/roles"
)

// lab starts what a row needs, and stops it when the row is done.
type lab struct {
	opt      options
	progress io.Writer
	self     string // this executable
	root     string // of the module
	dir      string // everything temporary
	product  string // the anybridge executable
	crossbar string // the crossbar executable
	// Why there is no product or no crossbar; the rows go on without.
	productErr, crossbarErr error

	running []*proc.Process
	redis   *redisServer // of this row, once somebody needs it
	dirs    int
}

func newLab(ctx context.Context, opt options, progress io.Writer) (*lab, error) {
	l := &lab{opt: opt, progress: progress}
	var err error
	if l.self, err = os.Executable(); err != nil {
		return nil, err
	}
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("find the module: %w", err)
	}
	l.root = filepath.Dir(strings.TrimSpace(string(mod)))
	if l.dir, err = os.MkdirTemp("", "anybridge-bench-"); err != nil {
		return nil, err
	}
	if l.product, l.productErr = l.buildProduct(ctx); l.productErr != nil {
		l.say(l.productErr)
		l.productErr = errors.New("not built") // once is enough for what the compiler says
	}
	l.crossbar, l.crossbarErr = l.findCrossbar(ctx)
	l.say(l.crossbarErr)
	return l, nil
}

func (l *lab) say(err error) {
	if err != nil {
		fmt.Fprintln(l.progress, "bench:", err)
	}
}

func (l *lab) close() {
	l.stopAll()
	l.say(os.RemoveAll(l.dir))
}

// stopAll ends what the row has started, the last one first.
func (l *lab) stopAll() {
	for i := len(l.running) - 1; i >= 0; i-- {
		l.say(l.running[i].Stop())
	}
	l.running, l.redis = nil, nil
}

// start starts a process that stopAll will stop.
func (l *lab) start(spec proc.Spec) (*proc.Process, error) {
	p, err := proc.Start(spec)
	if err != nil {
		return nil, err
	}
	l.running = append(l.running, p)
	return p, nil
}

// newDir makes an empty directory.
func (l *lab) newDir() (string, error) {
	l.dirs++
	dir := filepath.Join(l.dir, strconv.Itoa(l.dirs))
	return dir, os.Mkdir(dir, 0o700)
}

// role is a running role of package roles.
type role struct {
	*proc.Process
	ready roles.Ready
	lines *bufio.Reader
}

// role starts a role under a name that the table will show, and waits until it is ready.
func (l *lab) role(name, what string, args ...string) (*role, error) {
	p, err := l.start(proc.Spec{Name: name, Path: l.self, Args: append([]string{"role", what}, args...)})
	if err != nil {
		return nil, err
	}
	r := &role{Process: p, lines: bufio.NewReader(p.Stdout)}
	if err := r.read(&r.ready, 30*time.Second); err != nil {
		return nil, fmt.Errorf("start %s: %w", what, err)
	}
	if r.ready.Error != "" {
		return nil, fmt.Errorf("start %s: %s", what, r.ready.Error)
	}
	return r, nil
}

// do sends a command and waits for its report.
func (r *role) do(c roles.Command) (roles.Report, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return roles.Report{}, err
	}
	if _, err := r.Stdin.Write(append(b, '\n')); err != nil {
		return roles.Report{}, fmt.Errorf("command %s: %w", r.Spec.Name, err)
	}
	var report roles.Report
	err = r.read(&report, c.For+c.Timeout+30*time.Second)
	return report, err
}

func (r *role) read(v any, timeout time.Duration) error {
	if err := r.Stdout.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	line, err := r.lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read from %s: %w\n%s", r.Spec.Name, err, r.Log())
	}
	return json.Unmarshal(line, v)
}

// freePort returns a port of loopback that was free a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// await calls try every interval until it succeeds.
func await(timeout, interval time.Duration, p *proc.Process, try func() error) error {
	for end := time.Now().Add(timeout); ; time.Sleep(interval) {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("%s has ended: %s", p.Spec.Name, p.Log())
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s is not ready after %v: %w\n%s", p.Spec.Name, timeout, err, p.Log())
		}
	}
}
