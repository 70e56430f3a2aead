package tests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// line is what a client tells, one at a time.
type line struct {
	On string // "ready", "left", "result", "error", "progress", "event" …
	ID int    // of the order it answers

	Args   json.RawMessage
	Kwargs json.RawMessage
	Text   string // the args as the client's library saw them, see python/values.py
	Error  string

	Session  uint64
	AuthID   string
	AuthRole string
	Reason   string

	Subscription    string
	Topic           string
	Publication     uint64
	Publisher       uint64
	PublisherAuthID string `json:"publisher_authid"`
	Retained        bool

	raw json.RawMessage // all of it, with what only one program tells
}

// field is a field of the line that only one program tells.
func (l line) field(name string) json.RawMessage {
	var all map[string]json.RawMessage
	_ = json.Unmarshal(l.raw, &all)
	return all[name]
}

// lines collects what a client tells until a test asks for it.
type lines struct {
	mu     sync.Mutex
	came   chan struct{} // closed and renewed with every line
	unseen []line
	ended  bool
}

func newLines() *lines { return &lines{came: make(chan struct{})} }

func (l *lines) add(new line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unseen = append(l.unseen, new)
	close(l.came)
	l.came = make(chan struct{})
}

func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	close(l.came)
	l.came = make(chan struct{})
}

// take removes the first line that fits, if one has come.
func (l *lines) take(fits func(line) bool) (found line, ok bool, next <-chan struct{}, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, candidate := range l.unseen {
		if fits(candidate) {
			l.unseen = append(l.unseen[:i:i], l.unseen[i+1:]...)
			return candidate, true, nil, false
		}
	}
	return line{}, false, l.came, l.ended
}

// await waits for the first line that fits. Others stay for those who ask for them.
func (l *lines) await(t testing.TB, what string, fits func(line) bool) line {
	t.Helper()
	timeout := time.After(patience)
	for {
		found, ok, next, ended := l.take(fits)
		if ok {
			return found
		}
		if ended {
			t.Fatalf("the client ended before: %s", what)
		}
		select {
		case <-next:
		case <-timeout:
			l.mu.Lock()
			defer l.mu.Unlock()
			var others []string
			for _, other := range l.unseen {
				others = append(others, string(other.raw))
			}
			t.Fatalf("the client does not tell: %s; it told\n%s", what, strings.Join(others, "\n"))
		}
	}
}

// awaitOn waits for the first line of a kind.
func (l *lines) awaitOn(t testing.TB, kind string) line {
	t.Helper()
	return l.await(t, kind, func(l line) bool { return l.On == kind })
}

// none fails the test when a line has come that fits.
func (l *lines) none(t testing.TB, what string, fits func(line) bool) {
	t.Helper()
	if found, ok, _, _ := l.take(fits); ok {
		t.Errorf("the client tells of %s, which should not be: %s", what, found.raw)
	}
}

// program is a running client program.
type program struct {
	*lines
	process *os.Process
	stdin   io.WriteCloser
	mu      sync.Mutex // for stdin
}

// startProgram runs python/NAME.py or node/NAME.js with the settings as its argument
// and stops it when the test ends. It does not wait for the program to be ready.
func startProgram(t testing.TB, name string, settings object) *program {
	t.Helper()
	command := interpreter(t, name)
	cmd := exec.Command(command, name, string(raw(settings)))
	log := &logBuffer{}
	cmd.Stderr = log
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "NODE_NO_WARNINGS=1")
	cmd.WaitDelay = time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{lines: newLines(), process: cmd.Process, stdin: stdin}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		p.read(stdout, log)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		stdin.Close()
		// Programs that read orders end with their input, the others on SIGTERM.
		for _, signal := range []syscall.Signal{0, syscall.SIGTERM, syscall.SIGKILL} {
			_ = cmd.Process.Signal(signal)
			select {
			case <-exited:
			case <-time.After(time.Second):
				continue
			}
			break
		}
		<-exited
		if t.Failed() {
			t.Logf("what %s said:\n%s", name, log)
		}
	})
	return p
}

// interpreter is the program that runs a client program. Where what the clients need
// is not installed the test is skipped, or fails with ANYBRIDGE_TEST_CLIENTS=required.
func interpreter(t testing.TB, name string) string {
	t.Helper()
	command, needs := "node", "node_modules"
	if strings.HasSuffix(name, ".py") {
		command, needs = "../.venv/bin/python", "../.venv/bin/python"
	}
	_, err := os.Stat(needs)
	if err == nil {
		command, err = exec.LookPath(command)
	}
	if err == nil {
		command, err = filepath.Abs(command)
	}
	if err == nil {
		return command
	}
	if os.Getenv("ANYBRIDGE_TEST_CLIENTS") == "required" {
		t.Fatalf("%s cannot run (make setup installs what it needs): %v", name, err)
	}
	t.Skipf("%s cannot run; make setup installs what it needs: %v", name, err)
	return ""
}

// read takes what the program prints: JSON objects are for the test, the rest is log.
func (p *program) read(stdout io.Reader, log io.Writer) {
	defer p.end()
	r := bufio.NewReaderSize(stdout, 1<<20)
	for {
		text, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		var l line
		if text[0] != '{' || json.Unmarshal(text, &l) != nil {
			_, _ = log.Write(text)
			continue
		}
		l.raw = text
		p.add(l)
	}
}

// send writes an order for the program.
func (p *program) send(o order) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintf(p.stdin, "%s\n", raw(o)); err != nil {
		return fmt.Errorf("send order to the client: %w", err)
	}
	return nil
}
