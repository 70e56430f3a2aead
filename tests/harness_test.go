package tests

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that should happen at once. It is long
// because the machine may be busy: no test waits this long unless it fails.
const patience = 20 * time.Second

// anybridge is the program under test.
var anybridge string

// TestMain builds the program once; with ANYBRIDGE_TEST_RACE=1 with the race
// detector in it.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "anybridge-tests-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		anybridge = filepath.Join(dir, "anybridge")
		args := []string{"build", "-o", anybridge}
		if os.Getenv("ANYBRIDGE_TEST_RACE") != "" {
			args = append(args, "-race")
		}
		build := exec.Command("go", append(args, "github.com/anybridge/anybridge/cmd/anybridge")...)
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "build anybridge:", err)
			return 1
		}
		return m.Run()
	}())
}

// theToken is the token that may do everything, in every bridge the tests start.
const theToken = "the-token-of-the-tests"

// setup is what one bridge's configuration says. The zero value is one WAMP router
// on a free port, and theToken.
type setup struct {
	listen     string            // of the REST API; "127.0.0.1:0" if empty
	wampListen string            // "127.0.0.1:0" if empty
	tokens     map[string]string // more tokens, by name, with every right
	users      bool              // they may say on whose behalf they call
	wamp       string            // the whole WAMP backend, when it is on somebody else's router
	more       string            // further lines of backends:, and what comes after them
}

// config is the configuration file.
func (s setup) config(dataDir string) string {
	var b strings.Builder
	const anyPort = "127.0.0.1:0"
	listen := cmp.Or(s.wampListen, anyPort)
	fmt.Fprintf(&b, "listen: %s\ndata_dir: %s\n", cmp.Or(s.listen, anyPort), dataDir)
	fmt.Fprintf(&b, "tokens:\n  tests: {token: %s, allow: [\"*\"]}\n", theToken)
	for _, name := range slices.Sorted(maps.Keys(s.tokens)) {
		fmt.Fprintf(&b, "  %s: {token: %s, allow: [\"*\"], users: %t}\n", name, s.tokens[name], s.users)
	}
	fmt.Fprintf(&b, "callbacks:\n  allow: [127.0.0.0/8]\n")
	if s.wamp != "" {
		fmt.Fprintf(&b, "backends:\n  wamp: %s\n%s", s.wamp, s.more)
		return b.String()
	}
	fmt.Fprintf(&b, "backends:\n  wamp: {kind: wamp, router: {listen: \"%s\", path: /ws, realms: [realm1]}}\n%s", listen, s.more)
	return b.String()
}

// bridge is one running anybridge.
type bridge struct {
	rest // what token "tests" can do

	URL    string // of the REST API, without a slash at the end
	WS     string // WAMP over WebSocket
	Raw    string // WAMP over RawSocket, host:port
	Config string // the configuration file

	process *os.Process
	told    chan string   // gets the URL of the REST API once it is served
	exited  chan struct{} // closed when the process has ended
	err     error         // how it ended; after exited
	log     *logBuffer
}

// startBridge starts a bridge, waits until it is ready, and stops it when the test
// ends: then no process of it may be left.
func startBridge(t testing.TB, s setup) *bridge {
	t.Helper()
	b := &bridge{Config: filepath.Join(t.TempDir(), "anybridge.yaml"), log: &logBuffer{}}
	b.configure(t, s)
	b.launch(t)
	t.Cleanup(func() {
		b.stop(t)
		for _, bad := range []string{"DATA RACE", "panic"} {
			if strings.Contains(b.log.String(), bad) {
				t.Errorf("the bridge tells of a %s", bad)
			}
		}
		if t.Failed() {
			t.Logf("what the bridge said:\n%s", b.log)
		}
	})
	b.URL = b.serving(t)
	b.rest = rest{url: b.URL, token: theToken}
	b.waitReady(t)
	if s.wamp == "" {
		b.findRouter(t)
	}
	return b
}

// launch runs the program on its configuration and data. It may do so again when the
// process has ended.
func (b *bridge) launch(t testing.TB) {
	t.Helper()
	cmd := exec.Command(anybridge, "serve", "--config", b.Config)
	cmd.Dir = filepath.Dir(b.Config)
	cmd.Stderr = b.log
	cmd.WaitDelay = 5 * time.Second
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told, exited := make(chan string, 1), make(chan struct{})
	b.process, b.told, b.exited = cmd.Process, told, exited
	go func() {
		defer close(exited)
		b.readOutput(stdout, told)
		b.err = cmd.Wait()
	}()
}

// serving waits until the REST API is served, and returns its URL.
func (b *bridge) serving(t testing.TB) string {
	t.Helper()
	select {
	case u := <-b.told:
		return u
	case <-b.exited:
		t.Fatalf("anybridge ended: %v", b.err)
	case <-time.After(patience):
		t.Fatal("anybridge does not say where its REST API is")
	}
	return ""
}

// configure writes the configuration file.
func (b *bridge) configure(t testing.TB, s setup) {
	t.Helper()
	text := s.config(filepath.Join(filepath.Dir(b.Config), "data"))
	if err := os.WriteFile(b.Config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

var restURL = regexp.MustCompile(`https?://127\.0\.0\.1:[1-9][0-9]*`)

// readOutput finds the REST API's address in what anybridge prints, which is the
// first http URL.
func (b *bridge) readOutput(stdout io.Reader, told chan<- string) {
	lines := bufio.NewScanner(stdout)
	found := false
	for lines.Scan() {
		fmt.Fprintln(b.log, lines.Text())
		if u := restURL.FindString(lines.Text()); u != "" && !found {
			found = true
			told <- u
		}
	}
}

func (b *bridge) waitReady(t testing.TB) {
	t.Helper()
	eventually(t, "the bridge is ready", func() error {
		answer, err := b.send(t.Context(), http.MethodGet, "/readyz", nil)
		if err == nil && answer.Status != http.StatusOK {
			err = fmt.Errorf("%d %s", answer.Status, answer.Body)
		}
		return err
	})
}

// backendStatus is what the tests look at of one backend in GET /status/.
type backendStatus struct {
	Name    string
	State   string
	Reason  string
	Listen  []string
	Process struct {
		PID      int
		Restarts int
	}
	Counters map[string]int64
}

// routeStatus is what the tests look at of one route in GET /status/.
type routeStatus struct {
	Name, Kind, From, To                                string
	Carried, Filtered, Dropped, Refused, Failed, Braked int64
	LastError                                           string `json:"last_error"`
}

// status is the part of GET /status/ that the tests look at.
type status struct {
	Backends                     []backendStatus
	Routes                       []routeStatus
	Registrations, Subscriptions int
	Engine                       struct {
		DeadLetters int64 `json:"dead_letters"`
		Counters    map[string]int64
	}
}

func (b *bridge) status(t testing.TB) status {
	t.Helper()
	var s status
	b.get(t, "/status/").decode(t, http.StatusOK, &s)
	return s
}

// backend is what the status tells of one backend.
func (s status) backend(t testing.TB, name string) backendStatus {
	t.Helper()
	for _, b := range s.Backends {
		if b.Name == name {
			return b
		}
	}
	t.Fatalf("status tells of no backend %s: %+v", name, s)
	return backendStatus{}
}

// pluginPID is the process of the WAMP backend.
func (b *bridge) pluginPID(t testing.TB) int {
	t.Helper()
	pid := b.status(t).backend(t, "wamp").Process.PID
	if pid == 0 {
		t.Fatal("status tells no pid of the WAMP plugin")
	}
	return pid
}

// findRouter asks the bridge where its router listens.
func (b *bridge) findRouter(t testing.TB) {
	t.Helper()
	for _, listen := range b.status(t).backend(t, "wamp").Listen {
		u, err := url.Parse(listen)
		if err != nil {
			t.Fatalf("listen address %q: %v", listen, err)
		}
		if u.Scheme == "ws" {
			b.WS, b.Raw = listen, u.Host // both transports share the port
		}
	}
	if b.WS == "" {
		t.Fatalf("status tells no WebSocket address of the router: %+v", b.status(t))
	}
}

// stop ends the bridge as an operator would, if it still runs.
func (b *bridge) stop(t testing.TB) {
	t.Helper()
	children := childrenOf(b.process.Pid)
	if b.waitExit(0) {
		return // the test ended it
	}
	_ = b.process.Signal(syscall.SIGTERM)
	if !b.waitExit(patience) {
		t.Errorf("anybridge does not end on SIGTERM")
		_ = b.process.Kill()
		<-b.exited
	}
	if b.err != nil {
		t.Errorf("anybridge ended with %v, want exit code 0", b.err)
	}
	for _, pid := range children {
		waitGone(t, pid, 2*time.Second)
	}
}

// waitExit reports whether the process ended in time.
func (b *bridge) waitExit(within time.Duration) bool {
	if within == 0 {
		select {
		case <-b.exited:
			return true
		default:
			return false
		}
	}
	select {
	case <-b.exited:
		return true
	case <-time.After(within):
		return false
	}
}

// childrenOf lists the processes that pid started. It knows none where there is no
// /proc.
func childrenOf(pid int) []int {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var pids []int
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// waitGone waits until the process exists no more. Who is dead but not yet waited
// for is gone: that is up to its parent, which is not always ours.
func waitGone(t testing.TB, pid int, within time.Duration) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) || isZombie(pid) {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("process %d still runs %s later", pid, within)
			_ = syscall.Kill(pid, syscall.SIGKILL)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func isZombie(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(after, "Z")
}

// eventually tries until it works, and fails the test when it has not in time.
func eventually(t testing.TB, what string, try func() error) {
	t.Helper()
	within(t, patience, what, try)
}

// within is eventually with a limit of its own.
func within(t testing.TB, limit time.Duration, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s: %v", limit, what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// deadline is a context for one step of a test.
func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// logBuffer keeps what processes say, for when a test fails. It can be written and
// read at the same time.
type logBuffer struct {
	mu   sync.Mutex
	text []byte
}

// maxLog is how much of a log is kept: its end.
const maxLog = 64 << 10

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if over := len(l.text) - maxLog; over > maxLog {
		l.text = append([]byte("…"), l.text[over:]...)
	}
	return len(p), nil
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// raw is a value as JSON.
func raw(v any) json.RawMessage {
	if text, ok := v.(json.RawMessage); ok {
		return text
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
