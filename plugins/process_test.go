package plugins

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

func TestRefusedPlugins(t *testing.T) {
	script := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const cert = "MIIBkTCCATegAwIBAgIQ"
	for what, c := range map[string]struct {
		change func(*Spec)
		want   []string
	}{
		"missing":        {func(s *Spec) { s.Command[0] = "/no/such/plugin" }, []string{"/no/such/plugin does not exist", "mend the path"}},
		"not in PATH":    {func(s *Spec) { s.Command[0] = "no-such-plugin-anywhere" }, []string{"no-such-plugin-anywhere does not exist"}},
		"not executable": {func(s *Spec) { s.Command[0] = script("p", "#!/bin/sh\n", 0o600) }, []string{"/p is not executable", "chmod +x"}},
		"directory":      {func(s *Spec) { s.Command[0] = t.TempDir() }, []string{t.Name(), "cannot be run"}},
		"no program":     {func(s *Spec) { s.Command[0] = script("p", "\x00\x01", 0o700) }, []string{"/p cannot be run", "exec format error"}},
		"exits":          {func(s *Spec) { s.Command[0] = script("p", "#!/bin/sh\necho no licence >&2\nexit 3\n", 0o700) }, []string{"/p exited before the handshake", "exit status 3", "no licence"}},
		"chatters":       {func(s *Spec) { s.Command[0] = script("p", "#!/bin/sh\necho hello\n", 0o700) }, []string{"/p is not an anybridge plugin", `"hello"`}},
		"other version": {func(s *Spec) {
			s.Command[0] = script("p", "#!/bin/sh\necho '1|9|unix|/x|grpc|"+cert+"'\nsleep 100\n", 0o700)
		}, []string{"/p speaks version 9", "this bridge speaks 1", "rebuild"}},
		"other protocol": {func(s *Spec) {
			s.Command[0] = script("p", "#!/bin/sh\necho '1|1|unix|/x|netrpc|"+cert+"'\nsleep 100\n", 0o700)
		}, []string{"/p speaks netrpc, only grpc"}},
		"silent": {func(s *Spec) {
			s.Command[0] = script("p", "#!/bin/sh\nsleep 1000\n", 0o700)
			s.Limits.StartTimeout = 200 * time.Millisecond
		}, []string{"/p gave no sign within 200ms"}},
		"checksum":     {func(s *Spec) { s.SHA256 = strings.Repeat("ab", 32) }, []string{s256(t), strings.Repeat("ab", 32), "is configured"}},
		"bad config":   {func(s *Spec) { s.Config = json.RawMessage(`{"refuse":true}`) }, []string{"refuse: is set"}},
		"dies in Open": {func(s *Spec) { s.Config = json.RawMessage(`{"die":true}`) }, []string{"died while it was opened", "exit status 2", "panic: died in Open"}},
		"bad name":     {func(s *Spec) { s.Name = "Bad Name" }, []string{"Bad Name"}},
		"no command":   {func(s *Spec) { s.Command = nil }, []string{"no command"}},
	} {
		t.Run(what, func(t *testing.T) {
			spec := testSpec(t)
			spec.Env = append(spec.Env, "TMPDIR="+t.TempDir())
			c.change(&spec)
			p, err := Launch(t.Context(), spec, slog.New(&records{}))
			if err == nil {
				closePlugin(t, p)
				t.Fatal("was accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

// s256 is the checksum of the test binary.
func s256(t *testing.T) string {
	t.Helper()
	sum, err := checksum(testSpec(t).Command[0])
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestChecksumThatFits(t *testing.T) {
	p, _ := launch(t, func(s *Spec) { s.SHA256 = strings.ToUpper(s256(t)) })
	mustCall(t, p, "echo", `[]`)
}

func TestLaunchGivesUpWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p")
	pidFile := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho $$ > "+pidFile+".new; mv "+pidFile+".new "+pidFile+"\nsleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if _, err := os.Stat(pidFile); err == nil || ctx.Err() != nil {
				cancel()
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if _, err := Launch(ctx, Spec{Name: "test", Command: []string{path}}, slog.New(&records{})); err == nil {
		t.Fatal("no error")
	}
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(pid)))
	if alive(n) {
		t.Error("the child is still there")
	}
}

func TestEnvironmentIsExplicit(t *testing.T) {
	t.Setenv("A_SECRET_OF_THE_HOST", "x")
	p, _ := launch(t, func(s *Spec) { s.Env = append(s.Env, "MINE=1", "HOME=/elsewhere") })
	var got [][]string
	if err := json.Unmarshal([]byte(mustCall(t, p, "environment", `[]`)), &got); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, kv := range got[0] {
		key, value, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(key, "PLUGIN_") || strings.HasPrefix(key, "ANYBRIDGE_"):
		default:
			keys = append(keys, key)
		}
		if key == "HOME" && value != "/elsewhere" {
			t.Errorf("HOME is %q", value)
		}
	}
	for _, key := range keys {
		if !slices.Contains([]string{"PATH", "HOME", "TMPDIR", "MINE", "GORACE", roleEnv}, key) {
			t.Errorf("the child inherited %s", key)
		}
	}
	if !slices.Contains(keys, "PATH") || !slices.Contains(keys, "MINE") {
		t.Errorf("the child has %v", keys)
	}
}

func TestLogsArrive(t *testing.T) {
	p, logged := launch(t)
	mustCall(t, p, "log", `[]`)
	for message, level := range map[string]slog.Level{
		"a warning": slog.LevelWarn, "a debug line": slog.LevelDebug, "from package log": slog.LevelInfo,
		"from stdout": slog.LevelInfo, "from hclog": slog.LevelError, "plain text on stderr": slog.LevelInfo,
	} {
		eventually(t, message, func() bool { return logged.find(message) != nil })
		record := logged.find(message)
		if record.Level != level || attr(record, "backend").String() != "test" || time.Since(record.Time) > time.Minute {
			t.Errorf("%q: level %s, attributes %v", message, record.Level, record)
		}
	}
	record := logged.find("a warning")
	if attr(record, "n").Int64() != 9007199254740993 || attr(record, "msg").String() != "twice" {
		t.Errorf("attributes are %v", record)
	}
	group := attr(record, "g").Group()
	if len(group) != 2 || group[0].Key != "x" || group[0].Value.Float64() != 1.5 || !group[1].Value.Bool() {
		t.Errorf("group is %v", group)
	}
	if attr(logged.find("from hclog"), "who").String() != "x" {
		t.Error("hclog's attribute is missing")
	}
}

func TestCrashIsLoggedWholeAndMended(t *testing.T) {
	p, logged := launch(t)
	_, err := call(t.Context(), p, "crash", `[]`)
	if wantCode(t, err, core.Unavailable); !strings.Contains(err.Error(), `"test"`) || !strings.Contains(err.Error(), "restarted") {
		t.Errorf("error %q", err)
	}
	eventually(t, "restarted", func() bool { return p.Process().Restarts == 1 })
	record := logged.find("plugin crashed")
	if record == nil {
		t.Fatal("the panic is not in the log")
	}
	if stack := attr(record, "stack").String(); record.Level != slog.LevelError || !strings.Contains(stack, "panic: crashed as told") || !strings.Contains(stack, "goroutine ") {
		t.Errorf("stack %q", stack)
	}
	if got := p.Process().LastExit; got != "exit status 2: panic: crashed as told" {
		t.Errorf("last exit %q", got)
	}
	mustCall(t, p, "echo", `[]`)
}

func TestGrandchildrenDieToo(t *testing.T) {
	for what, end := range map[string]func(*testing.T, *Plugin){
		"closed":  func(t *testing.T, p *Plugin) { closePlugin(t, p) },
		"kill -9": func(t *testing.T, p *Plugin) { kill9(t, p.Process().PID) },
	} {
		t.Run(what, func(t *testing.T) {
			p, _ := launch(t)
			pid := p.Process().PID
			var grandchild []int
			if err := json.Unmarshal([]byte(mustCall(t, p, "spawn", `[]`)), &grandchild); err != nil {
				t.Fatal(err)
			}
			if !alive(grandchild[0]) {
				t.Fatal("no grandchild")
			}
			end(t, p)
			eventually(t, "plugin gone", func() bool { return !alive(pid) })
			eventually(t, "grandchild gone", func() bool { return !alive(grandchild[0]) })
		})
	}
}

// playHost is a bridge that launches a plugin, says which processes there are, and
// waits for its end.
func playHost() {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	p, err := Launch(ctx, Spec{Name: "test", Command: []string{self}, Env: []string{roleEnv + "=plugin"}}, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		panic(err)
	}
	grandchild, err := call(ctx, p, "spawn", `[]`)
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Process().PID, strings.Trim(grandchild, "[]"))
	select {}
}

func TestNoOrphanWhenTheHostIsKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	host := exec.Command(self)
	host.Env = append(os.Environ(), roleEnv+"=host", "TMPDIR="+tmp)
	host.Stderr = os.Stderr
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var plugin, grandchild int
	if _, err := fmt.Sscan(line, &plugin, &grandchild); err != nil {
		t.Fatal(err)
	}
	if !alive(plugin) || !alive(grandchild) {
		t.Fatal("not running")
	}
	kill9(t, host.Process.Pid)
	_ = host.Wait()
	died := time.Now()
	eventually(t, "plugin gone", func() bool { return !alive(plugin) })
	eventually(t, "grandchild gone", func() bool { return !alive(grandchild) })
	t.Logf("no process left %s after the host's death", time.Since(died))
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
		t.Errorf("files left: %v", left)
	}
}

func TestPluginLeavesSignalsToTheBridge(t *testing.T) {
	p, logged := launch(t)
	pid := p.Process().PID
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		if err := syscall.Kill(pid, s); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "signal noticed", func() bool { return logged.find("signal ignored: the bridge stops its backends") != nil })
	if got := mustCall(t, p, "pid", `[]`); got != fmt.Sprintf("[%d]", pid) {
		t.Errorf("pid %s, want %d", got, pid)
	}
}

func TestServeOutsideTheBridge(t *testing.T) {
	spec := testSpec(t)
	cmd := exec.Command(spec.Command[0])
	cmd.Env = spec.Env
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "backend for anybridge") {
		t.Errorf("got %v: %s", err, out)
	}
}

// The example must build and work as a stranger would use it.
func TestExamplePlugin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin-echo")
	build := exec.Command("go", "build", "-o", path, "../examples/plugin-echo")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p, err := Launch(t.Context(), Spec{Name: "test", Command: []string{path}, Config: json.RawMessage(`{"greeting":"hi"}`)}, slog.New(&records{}))
	if err != nil {
		t.Fatal(err)
	}
	defer closePlugin(t, p)
	if got := mustCall(t, p, "greet", `[]`); got != `["hi"]` {
		t.Errorf("greeted with %s", got)
	}
	if _, err := p.Open(t.Context(), json.RawMessage(`{"greeting":"ho"}`)); err != nil {
		t.Fatal(err)
	}
	if got := mustCall(t, p, "greet", `[]`); got != `["ho"]` {
		t.Errorf("greeted with %s", got)
	}
	s, err := p.Subscribe(t.Context(), core.Pattern{Address: name(""), Match: core.Prefix})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // only the echoes arrive
		published := &core.Event{Topic: name("a.b")}
		if err := p.Publish(t.Context(), published); err != nil || published.ID != fmt.Sprint(2*i+1) {
			t.Fatalf("id %q, %v", published.ID, err)
		}
		if e := nextEvents(t, s, 1)[0]; e.Topic != name("echo.a.b") || e.ID != fmt.Sprint(2*i+2) || e.Time.IsZero() {
			t.Errorf("got %+v", e)
		}
	}
	r, err := p.Register(t.Context(), exact("mine"), core.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		invs, err := r.Next(context.Background())
		if err == nil {
			invs[0].Reply(&core.Result{Payload: invs[0].Payload}, nil)
		}
	}()
	if got := mustCall(t, p, "mine", `[7]`); got != `[7]` {
		t.Errorf("got %s", got)
	}
	<-done
	_, err = call(t.Context(), p, "nobody", `[]`)
	wantCode(t, err, core.NoSuchProcedure)
}
