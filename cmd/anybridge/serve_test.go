package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// startServe runs "anybridge serve" in a folder and returns where its REST API is.
func startServe(t *testing.T, dir string, env []string, args ...string) (c *command, url string) {
	t.Helper()
	c = startProgram(t, dir, env, append([]string{"serve"}, args...)...)
	place := regexp.MustCompile(`(?m)^  REST +(\S+)/$`)
	eventually(t, "banner", func() bool {
		select {
		case code := <-c.exited:
			t.Fatalf("exit code %d: %s", code, c.err.String())
		default:
		}
		return strings.Contains(c.out.String(), "Try it:") && strings.Contains(c.out.String(), "curl ")
	})
	return c, place.FindStringSubmatch(c.out.String())[1]
}

// freePorts is a configuration like the defaults, on ports that are free.
const freePorts = "listen: 127.0.0.1:0\nbackends: {wamp: " + wampBackend + "}\n"

// What a new user does: start it in an empty folder, paste the line, look around.
func TestServeFromAnEmptyFolder(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "anybridge.yaml"), freePorts)
	c, url := startServe(t, dir, nil)
	out := c.out.String()
	for _, want := range []string{"ws://127.0.0.1:", "realm1", "anybridge-data/token", "anybridge.yaml"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is missing:\n%s", want, out)
		}
	}
	token := strings.TrimSpace(readFile(t, dir, "anybridge-data", "token"))
	if strings.Contains(out+c.err.String(), token) {
		t.Error("the token is shown")
	}
	if _, err := exec.LookPath("curl"); err == nil {
		paste := exec.Command("sh", "-c", regexp.MustCompile(`(?m)^  (curl .*)$`).FindStringSubmatch(out)[1])
		paste.Dir = dir
		if answer, err := paste.Output(); err != nil || !strings.Contains(string(answer), `"id"`) {
			t.Errorf("the pasted line: %s %v", answer, err)
		}
	}

	env := []string{"ANYBRIDGE_URL=" + url}
	web := newWebApp(t, `{"sum": 42}`)
	if status, answer := request(t, http.MethodPost, url+"/register/", token, `{"endpoints": {"com.example.add2": "`+web.URL+`"}}`); status != 200 {
		t.Fatalf("register: %d %s", status, answer)
	}
	if code, out, errs := program(t, dir, env, "call", "com.example.add2", "-20", "22"); code != 0 || strings.TrimSpace(out) != `{"sum": 42}` {
		t.Errorf("call: exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	if body := receive(t, "invocation", web.got); !strings.Contains(body, "-20") {
		t.Errorf("invocation %s", body)
	}
	if code, out, errs := program(t, dir, env, "publish", "com.example.hello", "world"); code != 0 || len(strings.TrimSpace(out)) < 2 {
		t.Errorf("publish: exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	if code, out, errs := program(t, dir, env, "status"); code != 0 || !strings.Contains(out, "wamp") {
		t.Errorf("status: exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	if code, _, errs := program(t, dir, env, "call", "com.example.nothing"); code != 4 || !strings.Contains(errs, "no") {
		t.Errorf("call of nothing: exit code %d, stderr %q", code, errs)
	}
	if code, _, errs := program(t, t.TempDir(), env, "call", "com.example.add2"); code != 3 || !strings.Contains(errs, "--token") {
		t.Errorf("call without a token: exit code %d, stderr %q", code, errs)
	}

	// Reload, by command and by signal.
	writeFile(t, filepath.Join(dir, "anybridge.yaml"), freePorts+"lisen: x\n")
	if code, _, errs := program(t, dir, env, "reload"); code != 2 || !strings.Contains(errs, "lisen") {
		t.Errorf("reload: exit code %d, stderr %q", code, errs)
	}
	c.signal(syscall.SIGHUP)
	eventually(t, "the refusal in the log", func() bool { return strings.Count(c.err.String(), `"mistake":"unknown key`) >= 2 })
	writeFile(t, filepath.Join(dir, "anybridge.yaml"), freePorts+"tokens: {shop: {token: "+shopToken+", allow: [\"*\"]}}\n")
	c.signal(syscall.SIGHUP)
	eventually(t, "the new token", func() bool {
		status, _ := request(t, http.MethodPost, url+"/publish/x/", shopToken, `{}`)
		return status == 200
	})
	if code, out, errs := program(t, dir, append(env, "ANYBRIDGE_TOKEN="+shopToken), "reload"); code != 0 || out != "reloaded\n" {
		t.Errorf("reload: exit code %d, stdout %q, stderr %q", code, out, errs)
	}

	c.signal(syscall.SIGTERM)
	if code := receive(t, "exit", c.exited); code != 0 {
		t.Errorf("exit code %d: %s", code, c.err.String())
	}
}

func TestServeTakesTheTokenFromTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "x.yaml"), freePorts)
	c, url := startServe(t, dir, []string{"ANYBRIDGE_TOKEN=" + otherToken}, "--config", "x.yaml", "--data-dir", "elsewhere")
	if !strings.Contains(c.out.String(), `Bearer $ANYBRIDGE_TOKEN`) || strings.Contains(c.out.String(), otherToken) {
		t.Errorf("stdout %s", c.out.String())
	}
	if status, _ := request(t, http.MethodPost, url+"/publish/x/", otherToken, `{}`); status != 200 {
		t.Errorf("status %d", status)
	}
	if _, err := os.Stat(filepath.Join(dir, "elsewhere", "token")); err == nil {
		t.Error("a token was made")
	}
	c.signal(os.Interrupt)
	if code := receive(t, "exit", c.exited); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestServeRefusesMistakes(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "anybridge.yaml"), "lisen: x\ncallbacks: {timeout: 3}\n")
	if code, out, errs := program(t, dir, nil, "serve"); code != 1 || out != "" || !strings.Contains(errs, "2 mistakes") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	if code, _, errs := program(t, dir, nil, "serve", "--config", "no.yaml"); code != 1 || !strings.Contains(errs, "anybridge init") {
		t.Errorf("exit code %d, stderr %q", code, errs)
	}
	if code, _, errs := program(t, t.TempDir(), nil, "serve", "--listen", "here"); code != 1 || !strings.Contains(errs, "--listen") {
		t.Errorf("exit code %d, stderr %q", code, errs)
	}
	if code, _, errs := program(t, dir, nil, "backend", "wamp"); code == 0 || !strings.Contains(errs, "anybridge") {
		t.Errorf("backend by hand: exit code %d, stderr %q", code, errs)
	}
}

// childPID asks a bridge for the process of its backend.
func childPID(t *testing.T, url, token string) int {
	t.Helper()
	_, answer := request(t, http.MethodGet, url+"/status/", token, "")
	m := regexp.MustCompile(`"pid": ?(\d+)`).FindStringSubmatch(answer)
	if m == nil {
		t.Fatalf("no process in %s", answer)
	}
	pid := 0
	for _, d := range m[1] {
		pid = 10*pid + int(d-'0')
	}
	return pid
}

func TestKillLeavesNoProcess(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "anybridge.yaml"), freePorts)
	c, url := startServe(t, dir, []string{"ANYBRIDGE_TOKEN=" + otherToken})
	pid := childPID(t, url, otherToken)
	if !alive(pid) {
		t.Fatal("no process to begin with")
	}
	c.signal(syscall.SIGKILL)
	receive(t, "exit", c.exited)
	eventually(t, "the end of the backend", func() bool { return !alive(pid) })
}

// The first signal waits for what is under way, the second does not.
func TestSecondSignalStopsAtOnce(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "anybridge.yaml"), freePorts)
	c, url := startServe(t, dir, []string{"ANYBRIDGE_TOKEN=" + otherToken}, "--drain-timeout", "1h")
	web := newWebApp(t, "null")
	web.hold = make(chan struct{})
	pid := childPID(t, url, otherToken)
	if status, answer := request(t, http.MethodPost, url+"/subscribe/", otherToken, `{"endpoints": {"t": "`+web.URL+`"}}`); status != 200 {
		t.Fatalf("subscribe: %d %s", status, answer)
	}
	if status, answer := request(t, http.MethodPost, url+"/publish/t/", otherToken, `{}`); status != 200 {
		t.Fatalf("publish: %d %s", status, answer)
	}
	receive(t, "event", web.got)
	c.signal(syscall.SIGTERM)
	eventually(t, "draining", func() bool { return strings.Contains(c.err.String(), "draining") })
	c.signal(syscall.SIGTERM)
	if code := receive(t, "exit", c.exited); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(c.err.String(), "stopping at once") {
		t.Errorf("log %s", c.err.String())
	}
	if alive(pid) {
		t.Error("the process of the backend is left")
	}
}

// Ctrl-C at "anybridge call" cancels the call down to the web app.
func TestInterruptCancelsTheCall(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "anybridge.yaml"), freePorts)
	c, url := startServe(t, dir, nil)
	token := strings.TrimSpace(readFile(t, dir, "anybridge-data", "token"))
	if !core.CheckTokenText(token) {
		t.Errorf("token %q", token)
	}
	web := newWebApp(t, "null")
	web.hold = make(chan struct{})
	if status, answer := request(t, http.MethodPost, url+"/register/", token, `{"endpoints": {"slow": {"url": "`+web.URL+`", "timeout": "5m"}}}`); status != 200 {
		t.Fatalf("register: %d %s", status, answer)
	}
	call := startProgram(t, dir, []string{"ANYBRIDGE_URL=" + url}, "call", "slow", "--timeout", (5 * time.Minute).String())
	receive(t, "invocation", web.got)
	call.signal(os.Interrupt)
	if code := receive(t, "exit", call.exited); code != 130 {
		t.Errorf("exit code %d: %s", code, call.err.String())
	}
	receive(t, "the end of the invocation", web.dropped)
	c.signal(syscall.SIGTERM)
	if code := receive(t, "exit", c.exited); code != 0 {
		t.Errorf("exit code %d: %s", code, c.err.String())
	}
}
