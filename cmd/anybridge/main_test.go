package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/anybridge/anybridge/plugins"
)

// asProgram in the environment makes the test binary the program itself.
const asProgram = "ANYBRIDGE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	// A backend's process has an environment of its own. A built-in one is known by
	// its argument, a third-party one has none.
	switch {
	case os.Getenv(asProgram) != "" || len(os.Args) > 1 && os.Args[1] == "backend":
		main()
		return
	case len(os.Args) == 1 && os.Getenv("ANYBRIDGE_PLUGIN") != "":
		plugins.Serve(newMemory)
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds what should take no time, also on a loaded machine.
const patience = 30 * time.Second

// eventually waits until check passes; it is for what happens in other processes.
func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !check() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// within returns what f returns, if it does in time.
func within[T any](t *testing.T, what string, f func() T) T {
	t.Helper()
	done := make(chan T, 1)
	go func() { done <- f() }()
	return receive(t, what, done)
}

func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: not within %s", what, patience)
		panic("unreachable")
	}
}

// command is one run of the program.
type command struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err safeBuffer
	exited   chan int
}

// start runs the program in a folder.
func startProgram(t *testing.T, dir string, env []string, args ...string) *command {
	t.Helper()
	c := &command{t: t, exited: make(chan int, 1)}
	c.cmd = exec.Command(os.Args[0], args...)
	c.cmd.Dir = dir
	c.cmd.Env = append([]string{asProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + os.TempDir()}, env...)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.err
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		err := c.cmd.Wait()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() < 0 {
			c.exited <- -1 // by a signal
			return
		}
		c.exited <- c.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

// program runs the program to its end.
func program(t *testing.T, dir string, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := startProgram(t, dir, env, args...)
	code = receive(t, "exit of anybridge "+strings.Join(args, " "), c.exited)
	return code, c.out.String(), c.err.String()
}

func (c *command) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// alive reports whether a process runs.
func alive(pid int) bool { return pid != 0 && syscall.Kill(pid, 0) == nil }

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func readFile(t *testing.T, elem ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// request asks the REST API at base and returns the status and the answer.
func request(t *testing.T, method, url, token, body string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

// app is a web app that a bridge calls back.
type webApp struct {
	*httptest.Server
	got     chan string   // the bodies that arrived
	hold    chan struct{} // not nil: answers wait for it
	dropped chan struct{} // the bridge gave a request up
}

func newWebApp(t *testing.T, answer string) *webApp {
	w := &webApp{got: make(chan string, 1000), dropped: make(chan struct{}, 1000)}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.got <- string(body)
		if w.hold != nil {
			select {
			case <-w.hold:
			case <-r.Context().Done():
				w.dropped <- struct{}{}
				return
			}
		}
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, answer)
	}))
	t.Cleanup(w.Close)
	return w
}
