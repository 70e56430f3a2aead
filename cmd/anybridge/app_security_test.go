package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	rest "github.com/anybridge/anybridge/adapters/http"
	"github.com/anybridge/anybridge/core"
)

// A secret is changed without a gap: with the old one as previous both let the app
// in, and what it registered stays.
func TestTokensRotate(t *testing.T) {
	web := newWebApp(t, "null")
	fresh := core.NewTokenText()
	line := func(s string) map[string]string { return map[string]string{"shop": `{` + s + `, allow: ["*"]}`} }
	a := startApp(t, configuration(line(`token: `+shopToken)))
	a.post("/register/", shopToken, `{"endpoints": {"com.shop.proc": "`+web.URL+`"}}`, 200)
	const held = "reg wamp:com.shop.proc"
	for _, step := range []struct {
		line     string
		old, new int // the status of a call with either secret
		held     string
	}{
		{`token: ` + fresh + `, previous: ` + shopToken, 200, 200, held},
		{`hash: "` + hashOf(fresh) + `", previous: "` + hashOf(shopToken) + `"`, 200, 200, held},
		{`token: ` + shopToken + `, previous: ` + fresh, 200, 200, held}, // back again
		{`token: ` + fresh, 401, 200, held},
		{`token: ` + otherToken, 401, 401, ""},
	} {
		a.mustConfigure(configuration(line(step.line)))
		a.post("/call/com.shop.proc/", shopToken, `{}`, step.old)
		a.post("/call/com.shop.proc/", fresh, `{}`, step.new)
		if got := a.held("shop"); got != step.held {
			t.Errorf("%s: holds %q", step.line, got)
		}
	}
}

// What a token may cost follows the configuration.
func TestReloadChangesLimits(t *testing.T) {
	tokens := map[string]string{"shop": everything(shopToken), "other": `{token: ` + otherToken + `, allow: ["*"], rate: unlimited, endpoints: 2}`}
	limited := func(limits string) string { return configuration(tokens) + "limits: " + limits + "\n" }
	a := startApp(t, limited("{rate: {per_second: 0.001, burst: 2}, endpoints: 1}"))
	publish := func(token string, want int) { a.post("/publish/x/", token, `{}`, want) }
	publish(shopToken, 200)
	a.post("/subscribe/", otherToken, `{"endpoints": {"a": "http://127.0.0.1:1/", "b": "http://127.0.0.1:1/"}}`, 200)
	a.post("/subscribe/", otherToken, `{"endpoints": {"c": "http://127.0.0.1:1/"}}`, 429)
	publish(shopToken, 200)
	publish(shopToken, 429)
	publish(otherToken, 200)
	// Nothing changed for the token, so its bucket is as empty as before.
	a.mustConfigure(limited("{rate: {per_second: 0.001, burst: 2}, endpoints: 2}"))
	publish(shopToken, 429)
	a.mustConfigure(limited("{rate: {per_second: 0.001, burst: 4}}"))
	publish(shopToken, 200)
	a.mustConfigure(limited("{}"))
	publish(shopToken, 200)
	if err := a.configure(limited("{connections: 5}")); err == nil || !strings.Contains(err.Error(), "restart") {
		t.Errorf("got %v", err)
	}
}

// auditLines are the entries in the audit log.
func (a *testApp) auditLines() (out []rest.AuditEntry) {
	a.t.Helper()
	for line := range strings.Lines(readFile(a.t, filepath.Dir(a.file), "data", "audit.log")) {
		var e rest.AuditEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			a.t.Errorf("line %q: %v", line, err)
		}
		out = append(out, e)
	}
	return out
}

func TestAuditLog(t *testing.T) {
	made := core.NewTokenText()
	gone := newWebApp(t, "")
	gone.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	a := startApp(t, configuration(map[string]string{"shop": everything(made), "other": everything(otherToken)}))
	a.post("/register/", made, `{"endpoints": {"com.shop.proc": "http://127.0.0.1:1/?key=hidden"}}`, 200)
	a.post("/subscribe/", otherToken, `{"endpoints": {"com.gone": "`+gone.URL+`"}}`, 200)
	a.post("/publish/com.gone/", made, `{}`, 200)
	eventually(t, "the endpoint that is gone", func() bool { return a.held("other") == "" })
	a.post("/publish/x/", "no-such-token", `{}`, 401)
	if err := a.configure("listen: ["); err == nil {
		t.Error("the bad configuration is accepted")
	}
	writeFile(t, a.file, configuration(map[string]string{"other": everything(otherToken)}))
	a.post("/reload/", otherToken, ``, 200)
	a.hangUp()
	var got []string
	for _, e := range a.auditLines() {
		got = append(got, strings.Join(strings.Fields(strings.Join([]string{e.Token, e.Action, e.Address, string(e.Match), e.Outcome}, " ")), " "))
	}
	want := []string{
		"shop register wamp:com.shop.proc exact ok", "other subscribe wamp:com.gone exact ok", "other gone wamp:com.gone exact ok",
		"authenticate unauthenticated", "shop revoked wamp:com.shop.proc exact ok", "other reload ok", "reload ok",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if first := a.auditLines()[0]; first.TokenID != core.TokenID(made) || first.Remote != "127.0.0.1" || first.URL != "http://127.0.0.1:1/" {
		t.Errorf("got %+v", first)
	}
	text := readFile(t, filepath.Dir(a.file), "data", "audit.log")
	for _, secret := range []string{made, otherToken, "hidden", "no-such-token"} {
		if strings.Contains(text, secret) {
			t.Errorf("the audit log shows %s", secret)
		}
	}
	if err := a.configure(configuration(map[string]string{"other": everything(otherToken)}) + "audit: off\n"); err == nil || !strings.Contains(err.Error(), "audit cannot change") {
		t.Errorf("got %v", err)
	}
}

func TestAuditOff(t *testing.T) {
	a := startApp(t, configuration(map[string]string{"shop": everything(shopToken)})+"audit: off\n")
	a.post("/subscribe/", shopToken, `{"endpoints": {"a": "http://127.0.0.1:1/"}}`, 200)
	if _, err := os.Stat(filepath.Join(filepath.Dir(a.file), "data", "audit.log")); err == nil {
		t.Error("there is an audit log")
	}
}

// Nobody else can read what the bridge keeps, also where the files were there.
func TestDataDirIsTightened(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	for _, err := range []error{
		os.Mkdir(data, 0o755), os.Chmod(data, 0o755|os.ModeSetgid),
		os.WriteFile(filepath.Join(data, "token"), []byte(core.NewTokenText()), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	a := newTestAppIn(t, dir, "listen: 127.0.0.1:0\ndata_dir: data\nbackends: {wamp: "+wampBackend+"}\n")
	a.start()
	for path, want := range map[string]os.FileMode{"": 0o700 | os.ModeDir | os.ModeSetgid, "token": 0o600, "audit.log": 0o600} {
		if info, err := os.Stat(filepath.Join(data, path)); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, want %v (%v)", path, info.Mode(), want, err)
		}
	}
	if n := strings.Count(a.log.String(), "the mode was changed"); n != 2 {
		t.Errorf("the log has %s", a.log.String())
	}
}

func TestDataDirOfSomebodyElseIsRefused(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may everything")
	}
	a := &app{log: slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil))}
	info, err := os.Stat("/")
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Skip("/ is not root's")
	}
	if err := a.openDataDir("/"); err == nil || !strings.Contains(err.Error(), "open to others") || !strings.Contains(err.Error(), "data_dir") {
		t.Errorf("got %v", err)
	}
}

func TestMistypedDefaultTokenIsRefused(t *testing.T) {
	a := newTestApp(t, "data_dir: data\n")
	defer a.abandon()
	text := core.NewTokenText()
	a.o.LookupEnv = func(string) (string, bool) { return text[:len(text)-1], true }
	if _, err := a.tokenSet(a.config); err == nil || !strings.Contains(err.Error(), tokenEnv) || strings.Contains(err.Error(), text[:20]) {
		t.Errorf("got %v", err)
	}
}
