package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/anybridge/anybridge/core"
)

// inProcess runs one command line without a process of its own.
func inProcess(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(args, cli{in: strings.NewReader(""), out: &out, err: &errs, lookupEnv: func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}})
	return code, out.String(), errs.String()
}

// fakeBridge answers every request the same and notes what was asked.
type fakeBridge struct {
	*httptest.Server
	path, token, body string
}

func newFakeBridge(t *testing.T, status int, kind, answer string) *fakeBridge {
	b := &fakeBridge{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.path, b.token, b.body = r.URL.EscapedPath(), r.Header.Get("Authorization"), strings.TrimSpace(string(body))
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(func() {
		b.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return b
}

func TestCallSendsArguments(t *testing.T) {
	tests := map[string]struct {
		args []string
		path string
		body string
	}{
		"json and strings":    {[]string{"com.example.add", "20", "x", `{"a": [1]}`, "12345678901234567890", `"5"`, "null", ""}, "/call/com.example.add/", `{"args":[20,"x",{"a": [1]},12345678901234567890,"5",null,""]}`},
		"none":                {[]string{"p"}, "/call/p/", `{"args":[]}`},
		"kwargs and timeout":  {[]string{"p", "1", "--kwargs", `{"k": 1.50}`, "--timeout", "1500ms"}, "/call/p/", `{"args":[1],"kwargs":{"k": 1.50},"timeout":"1.5s"}`},
		"negative numbers":    {[]string{"p", "-5", "--timeout", "2s", "-0.5e3", "x", "--kwargs={}"}, "/call/p/", `{"args":[-5,-0.5e3,"x"],"kwargs":{},"timeout":"2s"}`},
		"negative after --":   {[]string{"p", "--", "-x", "-5", "--y"}, "/call/p/", `{"args":["-x",-5,"--y"]}`},
		"odd names":           {[]string{"irc:#ops/ä?b%2F"}, "/call/irc:%23ops%2F%C3%A4%3Fb%252F/", `{"args":[]}`},
		"text stays unquoted": {[]string{"p", "<&>\u2028"}, "/call/p/", `{"args":["<&>\u2028"]}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newFakeBridge(t, 200, "application/json", `{"args":[true],"kwargs":{}}`)
			code, out, errs := inProcess(t, nil, append([]string{"call", "--url", b.URL + "/", "--token", "tok"}, test.args...)...)
			if code != 0 || out != "true\n" || errs != "" {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
			}
			var got, want any
			if json.Unmarshal([]byte(b.body), &got) != nil || json.Unmarshal([]byte(test.body), &want) != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("sent %s, want %s", b.body, test.body)
			}
			if strings.Contains(test.body, "12345678901234567890") && !strings.Contains(b.body, "12345678901234567890") {
				t.Errorf("a number lost digits: %s", b.body)
			}
			if b.path != test.path || b.token != "Bearer tok" {
				t.Errorf("path %s, want %s; token %s", b.path, test.path, b.token)
			}
		})
	}
}

func TestCallPrintsResults(t *testing.T) {
	for answer, want := range map[string]string{
		`{"args":[12345678901234567890],"kwargs":{}}`: `12345678901234567890`,
		`{"args":["x"]}`:                            `"x"`,
		`{"args":[null]}`:                           `null`,
		`{"args":[],"kwargs":{}}`:                   `null`,
		`{"args":[1, 2],"kwargs":{}}`:               `{"args":[1, 2],"kwargs":{}}`,
		`{"args":[1],"kwargs":{"a": 1}}`:            `{"args":[1],"kwargs":{"a": 1}}`,
		`{"args":[{"b": 1, "a": 2}],"kwargs":null}`: `{"b": 1, "a": 2}`,
	} {
		b := newFakeBridge(t, 200, "application/json", answer)
		if code, out, errs := inProcess(t, nil, "call", "p", "--url", b.URL); code != 0 || out != want+"\n" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", answer, code, out, errs)
		}
	}
}

func TestPublishPrintsTheID(t *testing.T) {
	b := newFakeBridge(t, 200, "application/json", `{"id":"evt_1"}`)
	code, out, errs := inProcess(t, map[string]string{"ANYBRIDGE_URL": b.URL, "ANYBRIDGE_TOKEN": "t"}, "publish", "irc:#ops", "-1", "--kwargs", `{"a":1}`)
	if code != 0 || out != "evt_1\n" || b.path != "/publish/irc:%23ops/" || b.token != "Bearer t" || b.body != `{"args":[-1],"kwargs":{"a":1}}` {
		t.Errorf("exit code %d, stdout %q, stderr %q, bridge %+v", code, out, errs, b)
	}
}

// Each code has one exit code, and each error says what to do.
func TestExitCodes(t *testing.T) {
	for code, want := range map[core.Code]int{
		core.InvalidArgument: 2, core.Unauthenticated: 3, core.Forbidden: 3, core.NoSuchProcedure: 4, core.NoSuchBackend: 4,
		core.AlreadyExists: 5, core.TooMany: 6, core.Timeout: 8, core.Unavailable: 9, core.CallbackFailed: 9,
		core.Unimplemented: 10, core.Internal: 1, core.TooLarge: 2, "something_new": 1,
	} {
		b := newFakeBridge(t, 500, "application/problem+json; charset=utf-8", `{"type":"urn:anybridge:error:`+string(code)+`","title":"T","detail":"what happened"}`)
		got, out, errs := inProcess(t, nil, "call", "p", "--url", b.URL)
		if got != want || out != "" || !strings.Contains(errs, "what happened") {
			t.Errorf("%s: exit code %d, want %d; stdout %q, stderr %q", code, got, want, out, errs)
		}
	}
}

func TestApplicationErrorIsShownWhole(t *testing.T) {
	b := newFakeBridge(t, 500, "application/problem+json", `{"type":"urn:anybridge:error:application_error","title":"T","status":500,"detail":"sold out","error":"com.shop.sold_out","args":[12345678901234567890],"kwargs":{"left":0}}`)
	code, _, errs := inProcess(t, nil, "call", "p", "--url", b.URL)
	want := "anybridge: com.shop.sold_out: sold out\n  args   [12345678901234567890]\n  kwargs {\"left\":0}\n"
	if code != 7 || errs != want {
		t.Errorf("exit code %d, stderr %q, want %q", code, errs, want)
	}
}

func TestAnswersOfOtherServers(t *testing.T) {
	for _, b := range []*fakeBridge{
		newFakeBridge(t, 200, "text/html", "<html>"),
		newFakeBridge(t, 404, "text/html", "<html>"),
		newFakeBridge(t, 302, "text/html", ""),
		newFakeBridge(t, 500, "application/problem+json", `{"type":"about:blank"}`),
	} {
		if code, out, errs := inProcess(t, nil, "call", "p", "--url", b.URL); code != 1 || out != "" || !strings.Contains(errs, "answer") {
			t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
		}
	}
	b := newFakeBridge(t, 200, "", "")
	b.Close()
	if code, _, errs := inProcess(t, nil, "call", "p", "--url", b.URL); code != 9 || !strings.Contains(errs, "anybridge serve") {
		t.Errorf("exit code %d, stderr %q", code, errs)
	}
}

// The token that lies in the working directory is for this machine only.
func TestTokenOfTheDataFolderStaysHere(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("anybridge-data", 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "anybridge-data/token", "secret\n")
	b := newFakeBridge(t, 200, "application/json", `{"args":[]}`)
	if code, _, errs := inProcess(t, nil, "call", "p", "--url", b.URL); code != 0 || b.token != "Bearer secret" {
		t.Errorf("exit code %d, stderr %q, token %q", code, errs, b.token)
	}
	var f clientFlags
	for url, want := range map[string]string{"http://localhost:1": "secret", "http://[::1]:1": "secret", "https://bridge.example": "", "http://10.0.0.1:8181": ""} {
		f.url = url
		c, err := f.client(nil, cli{lookupEnv: func(string) (string, bool) { return "", false }})
		if err != nil || c.token != want {
			t.Errorf("%s: token %q, want %q (%v)", url, c.token, want, err)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"srve"}, "did you mean serve?"},
		{[]string{"call"}, "want anybridge call PROC"},
		{[]string{"call", "p", "--kwargs", "[1]"}, "JSON object"},
		{[]string{"call", "p", "--kwargs", " "}, "JSON object"},
		{[]string{"call", "p", "--timeout", "-1s"}, "more than 0"},
		{[]string{"call", "p", "--tiemout", "1s"}, "unknown flag"},
		{[]string{"call", "p", "\xff"}, "UTF-8"},
		{[]string{"call", "p", "--url", "localhost:8181"}, "is not a URL"},
		{[]string{"serve", "now"}, "too many arguments"},
		{[]string{"serve", "--log-level", "loud"}, "debug, info"},
		{[]string{"serve", "--log-format", "xml"}, "text or json"},
		{[]string{"token", "new"}, "NAME"},
		{[]string{"token", "new", "a b"}, "cannot name a token"},
		{[]string{"token", "new", "a", "--allow", "cal:x"}, "scope"},
	} {
		if code, out, errs := inProcess(t, nil, test.args...); code != 2 || out != "" || !strings.Contains(errs, test.want) || !strings.Contains(errs, "--help") {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", test.args, code, out, errs)
		}
	}
}

// A token that was made lets its owner in when the lines are put into a file.
func TestTokenNew(t *testing.T) {
	t.Chdir(t.TempDir())
	code, out, _ := inProcess(t, nil, "token", "new", "shop", "--allow", "call:com.shop.*", "--allow", `publish:wamp:a"b`)
	text, lines, found := strings.Cut(out, "\n\n")
	if code != 0 || !found || !core.CheckTokenText(text) {
		t.Fatalf("exit code %d, stdout %q", code, out)
	}
	l := loader{file: writeFile(t, "x.yaml", lines), lookupEnv: os.LookupEnv}
	conf, err := l.load()
	if err != nil {
		t.Fatal(err)
	}
	shop := conf.Tokens[0]
	if shop.Name != "shop" || shop.ID != core.TokenID(text) || shop.Hash != core.HashToken(text) || strings.Join(shop.Grants.Strings(), " ") != `call:com.shop.* publish:wamp:a"b` {
		t.Errorf("token %+v", shop)
	}
	if _, again, _ := inProcess(t, nil, "token", "new", "shop"); strings.HasPrefix(again, text) {
		t.Error("the same token twice")
	}
}

func TestInitAndCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	if code, _, errs := inProcess(t, nil, "check"); code != 1 || !strings.Contains(errs, "anybridge init") {
		t.Errorf("check of nothing: exit code %d, stderr %q", code, errs)
	}
	if code, out, errs := inProcess(t, nil, "init"); code != 0 || !strings.Contains(out, "anybridge.yaml") {
		t.Fatalf("init: exit code %d, stderr %q", code, errs)
	}
	if code, out, errs := inProcess(t, nil, "check"); code != 0 || !strings.Contains(out, "anybridge.yaml is right") {
		t.Errorf("check: exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	if code, _, errs := inProcess(t, nil, "init"); code != 1 || !strings.Contains(errs, "--force") {
		t.Errorf("init again: exit code %d, stderr %q", code, errs)
	}
	writeFile(t, "anybridge.yaml", "lisen: x\ntokens: {a: {token: s3cr3t-that-is-long-enough, alow: []}}\n")
	code, out, errs := inProcess(t, nil, "check", "--config", "anybridge.yaml")
	if code != 1 || out != "" || !strings.Contains(errs, "anybridge.yaml:1:1: unknown key") || !strings.Contains(errs, "3 mistakes") || strings.Contains(errs, "s3cr3t") {
		t.Errorf("check: exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	writeFile(t, "anybridge.yaml", `tokens: {a: {token: short, allow: ["*"]}}`)
	if code, _, errs := inProcess(t, nil, "check"); code != 0 || !strings.Contains(errs, "can be guessed") {
		t.Errorf("check: exit code %d, stderr %q", code, errs)
	}
	if code, _, _ := inProcess(t, nil, "init", "--force"); code != 0 || !strings.Contains(readFile(t, "anybridge.yaml"), "data_dir") {
		t.Errorf("init --force: exit code %d", code)
	}
}

func TestSchemaAndVersion(t *testing.T) {
	if code, out, _ := inProcess(t, nil, "schema"); code != 0 || !json.Valid([]byte(out)) {
		t.Errorf("schema: exit code %d", code)
	}
	if code, out, _ := inProcess(t, nil, "version"); code != 0 || !strings.HasPrefix(out, "anybridge ") {
		t.Errorf("version: exit code %d, stdout %q", code, out)
	}
}

// Every command explains itself with an example.
func TestHelpHasExamples(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" || cmd.Name() == "help" {
			return
		}
		if cmd.Example == "" || cmd.Short == "" || !strings.Contains(cmd.Example, "anybridge ") {
			t.Errorf("%s: no example", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
			if len([]rune(line)) > 100 {
				t.Errorf("%s: a long line: %s", cmd.CommandPath(), line)
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(cli{in: strings.NewReader(""), out: io.Discard, err: io.Discard, lookupEnv: os.LookupEnv}))
	code, out, _ := inProcess(t, nil, "call", "--help")
	if code != 0 || !regexp.MustCompile(`(?m)^  7 +the procedure raised`).MatchString(out) {
		t.Errorf("call --help: exit code %d, stdout %s", code, out)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, _ := inProcess(t, nil, "completion", shell); code != 0 || out == "" {
			t.Errorf("completion %s: exit code %d", shell, code)
		}
	}
}

func TestStatusTable(t *testing.T) {
	b := newFakeBridge(t, 200, "application/json", `{"version":"v1","started":"2026-01-02T03:04:05Z","backends":[{"name":"wamp","kind":"wamp","state":"down","reason":"it is being restarted","listen":["ws://127.0.0.1:8080/ws"],"process":{"pid":42,"started":"2026-01-02T03:04:05Z","restarts":7}}],"registrations":3,"subscriptions":4,"engine":{"store":"embedded","connected":true,"dead_letters":5}}`)
	code, out, errs := inProcess(t, nil, "status", "--url", b.URL)
	for _, want := range []string{"anybridge v1", "42", "7", "down", "wamp: it is being restarted", "registrations", "dead letters        5"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit code %d, stdout %s, stderr %s: %s is missing", code, out, errs, want)
		}
	}
	if code, out, _ := inProcess(t, nil, "status", "--json", "--url", b.URL); code != 0 || !json.Valid([]byte(out)) {
		t.Errorf("exit code %d, stdout %s", code, out)
	}
}

func TestBannerPasteable(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for path, want := range map[string]string{
		filepath.Join(dir, "anybridge-data", "token"): "anybridge-data/token",
		"/var/lib/it's here/token":                    `'/var/lib/it'\''s here/token'`,
	} {
		if got := shellQuote(nearPath(path)); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}
