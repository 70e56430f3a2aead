package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Tokens that tests put into configurations.
const (
	adminToken = "the-token-of-the-admin"
	shopToken  = "the-token-of-the-shop"
	otherToken = "the-token-of-the-other"
)

// wampBackend is a router on a free port.
const wampBackend = `{kind: wamp, router: {listen: "127.0.0.1:0", realms: [realm1]}}`

// configuration is a file with tokens and backends.
func configuration(tokens map[string]string, backends ...string) string {
	var b strings.Builder
	b.WriteString("listen: 127.0.0.1:0\ndata_dir: data\ndefault_backend: wamp\ntokens:\n")
	for name, line := range tokens {
		fmt.Fprintf(&b, "  %s: %s\n", name, line)
	}
	b.WriteString("backends:\n  wamp: " + wampBackend + "\n")
	for _, line := range backends {
		b.WriteString("  " + line + "\n")
	}
	return b.String()
}

func everything(token string) string { return fmt.Sprintf(`{token: %s, allow: ["*"]}`, token) }

// testApp is an app in this process, with the backends in processes of their own.
type testApp struct {
	*app
	t       *testing.T
	file    string
	log     *safeBuffer
	stopped sync.Once
}

// startApp starts an app on a configuration.
func startApp(t *testing.T, text string) *testApp {
	t.Helper()
	a := newTestApp(t, text)
	a.start()
	return a
}

func (a *testApp) start() {
	a.t.Helper()
	if err := a.Start(a.t.Context()); err != nil {
		a.t.Fatalf("start: %v", err)
	}
	a.t.Cleanup(a.halt)
}

func newTestApp(t *testing.T, text string) *testApp {
	t.Helper()
	return newTestAppIn(t, t.TempDir(), text)
}

func newTestAppIn(t *testing.T, dir, text string) *testApp {
	t.Helper()
	a := &testApp{t: t, file: writeFile(t, filepath.Join(dir, "anybridge.yaml"), text), log: &safeBuffer{}}
	l := &loader{file: a.file, lookupEnv: func(string) (string, bool) { return "", false }}
	var err error
	a.app, err = newApp(appOptions{
		Load: l.load, Program: os.Args[0], LookupEnv: l.lookupEnv,
		Log: slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", a.log.String())
		}
	})
	return a
}

// halt stops the app and checks that nothing of it is left.
func (a *testApp) halt() {
	a.stopped.Do(func() {
		a.t.Helper()
		pids := a.pids()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			a.t.Errorf("stop: %v", err)
		}
		for name, pid := range pids {
			if alive(pid) {
				a.t.Errorf("the process of backend %s is left", name)
			}
		}
	})
}

func (a *testApp) pids() map[string]int {
	out := map[string]int{}
	for name, p := range a.processes() {
		out[name] = p.PID
	}
	return out
}

// configure writes the file anew and reloads.
func (a *testApp) configure(text string) error {
	a.t.Helper()
	writeFile(a.t, a.file, text)
	return a.Reload(a.t.Context())
}

func (a *testApp) mustConfigure(text string) {
	a.t.Helper()
	if err := a.configure(text); err != nil {
		a.t.Fatalf("reload: %v", err)
	}
}

// post asks the bridge and wants the status.
func (a *testApp) post(path, token, body string, want int) string {
	a.t.Helper()
	status, answer := request(a.t, http.MethodPost, "http://"+a.Addr()+path, token, body)
	if status != want {
		a.t.Fatalf("%s: status %d, want %d: %s", path, status, want, answer)
	}
	return answer
}

// held lists what a token holds: "sub TOPIC" and "reg PROCEDURE".
func (a *testApp) held(owner string) string {
	var out []string
	for _, s := range a.bridge.Subscriptions(owner) {
		out = append(out, "sub "+s.Pattern.String())
	}
	for _, r := range a.bridge.Registrations(owner) {
		out = append(out, "reg "+r.Pattern.String())
	}
	return strings.Join(out, ", ")
}

func TestAppServes(t *testing.T) {
	a := startApp(t, configuration(map[string]string{"shop": everything(shopToken)}))
	if status, answer := request(t, http.MethodGet, "http://"+a.Addr()+"/readyz", "", ""); status != 200 {
		t.Fatalf("readyz: %d %s", status, answer)
	}
	web := newWebApp(t, `{"sum": 12345678901234567890}`)
	a.post("/register/", shopToken, `{"endpoints": {"com.shop.add": "`+web.URL+`"}}`, 200)
	a.post("/subscribe/", shopToken, `{"endpoints": {"com.shop.order": "`+web.URL+`"}}`, 200)
	if answer := a.post("/call/com.shop.add/", shopToken, `{"args": [1, 2]}`, 200); !strings.Contains(answer, "12345678901234567890") {
		t.Errorf("result %s", answer)
	}
	if body := receive(t, "invocation", web.got); !strings.Contains(body, `"args":[1, 2]`) && !strings.Contains(body, `"args":[1,2]`) {
		t.Errorf("invocation %s", body)
	}
	a.post("/publish/com.shop.order/", shopToken, `{"args": [7]}`, 200)
	if body := receive(t, "event", web.got); !strings.Contains(body, `"args":[7]`) {
		t.Errorf("event %s", body)
	}
	a.post("/call/com.shop.add/", "nobody", `{}`, 401)
}

func TestDefaultTokenIsKept(t *testing.T) {
	text := "listen: 127.0.0.1:0\ndata_dir: data\nbackends: {wamp: " + wampBackend + "}\n"
	a := startApp(t, text)
	path := filepath.Join(filepath.Dir(a.file), "data", "token")
	token := strings.TrimSpace(readFile(t, path))
	if !core.CheckTokenText(token) {
		t.Errorf("token %q", token)
	}
	for path, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, want %v (%v)", path, info.Mode(), want, err)
		}
	}
	a.post("/publish/x/", token, `{}`, 200)
	if strings.Contains(a.log.String(), token) {
		t.Error("the token is in the log")
	}

	// With tokens in the configuration the default one counts no more.
	a.mustConfigure(configuration(map[string]string{"shop": everything(shopToken)}))
	a.post("/publish/x/", token, `{}`, 401)
	a.post("/publish/x/", shopToken, `{}`, 200)
	a.mustConfigure(text)
	a.post("/publish/x/", token, `{}`, 200)
}

func TestReloadRevokesTokens(t *testing.T) {
	web := newWebApp(t, "null")
	hold := func(a *testApp, token, name string) {
		a.post("/register/", token, `{"endpoints": {"com.`+name+`.proc": "`+web.URL+`"}}`, 200)
		a.post("/subscribe/", token, `{"endpoints": {"com.`+name+`.a": "`+web.URL+`", "com.`+name+`.b": "`+web.URL+`"}}`, 200)
	}
	shop := "sub wamp:com.shop.a, sub wamp:com.shop.b, reg wamp:com.shop.proc"
	other := "sub wamp:com.other.a, sub wamp:com.other.b, reg wamp:com.other.proc"
	tests := map[string]struct {
		shop string // its line in the changed file
		want string // what it still holds
	}{
		"removed":       {"", ""},
		"other secret":  {everything("another-secret-of-the-shop"), ""},
		"fewer scopes":  {`{token: ` + shopToken + `, allow: ["register:com.*", "subscribe:com.shop.b"]}`, "sub wamp:com.shop.b, reg wamp:com.shop.proc"},
		"no scopes":     {`{token: ` + shopToken + `, allow: []}`, ""},
		"written anew":  {`{hash: "` + hashOf(shopToken) + `", allow: ["call:x", "*"]}`, shop},
		"exactly those": {`{token: ` + shopToken + `, allow: ["register:com.shop.proc", "subscribe:com.shop.*"]}`, shop},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startApp(t, configuration(map[string]string{"shop": everything(shopToken), "other": everything(otherToken)}))
			hold(a, shopToken, "shop")
			hold(a, otherToken, "other")
			pids := a.pids()
			tokens := map[string]string{"other": everything(otherToken)}
			if test.shop != "" {
				tokens["shop"] = test.shop
			}
			a.mustConfigure(configuration(tokens))
			if got := a.held("shop"); got != test.want {
				t.Errorf("shop holds %q, want %q", got, test.want)
			}
			if got := a.held("other"); got != other {
				t.Errorf("other holds %q, want %q", got, other)
			}
			if now := a.pids(); now["wamp"] != pids["wamp"] {
				t.Errorf("the process of the backend changed from %v to %v", pids, now)
			}
			if test.want == "" {
				eventually(t, "no procedure", func() bool { // until then the backend says that it is leaving
					status, _ := request(t, http.MethodPost, "http://"+a.Addr()+"/call/com.shop.proc/", otherToken, `{}`)
					return status == 404
				})
			}
			a.post("/call/com.other.proc/", otherToken, `{}`, 200)
		})
	}
}

func hashOf(token string) string {
	h := core.HashToken(token)
	return fmt.Sprintf("sha256:%x", h[:])
}

func TestBadReloadIsRefusedWhole(t *testing.T) {
	good := configuration(map[string]string{"admin": everything(adminToken), "shop": everything(shopToken)})
	a := startApp(t, good)
	pids, addr := a.pids(), a.Addr()
	for name, test := range map[string]struct{ text, want string }{
		"mistakes":        {"lisen: x\n" + good + "callbacks: {timeout: 3}\n", "lisen|timeout must be"},
		"not yaml":        {good + "\t- x", "not valid YAML"},
		"data_dir":        {strings.Replace(good, "data_dir: data", "data_dir: other", 1), "data_dir|restart"},
		"default_backend": {strings.NewReplacer("default_backend: wamp", "default_backend: more", "backends:\n", "backends:\n  more: "+wampBackend+"\n").Replace(good), "default_backend|restart"},
		"plugin":          {good + "  mine: {plugin: /bin/true}\n", "mine"},
		"backend's own":   {good + "  more: {kind: wamp, router: {listen: \"127.0.0.1:0\", realms: [realm1], pth: /}}\n", "pth"},
	} {
		writeFile(t, a.file, test.text)
		status, answer := request(t, http.MethodPost, "http://"+addr+"/reload/", adminToken, "")
		if status != 400 {
			t.Errorf("%s: status %d: %s", name, status, answer)
		}
		for part := range strings.SplitSeq(test.want, "|") {
			if !strings.Contains(answer, part) {
				t.Errorf("%s: the answer does not tell of %s: %s", name, part, answer)
			}
		}
		if strings.Contains(answer, shopToken) {
			t.Errorf("%s: a secret is shown: %s", name, answer)
		}
		a.post("/publish/x/", shopToken, `{}`, 200)
	}
	if now := a.pids(); fmt.Sprint(now) != fmt.Sprint(pids) || a.Addr() != addr {
		t.Errorf("processes %v, were %v; address %s, was %s", now, pids, a.Addr(), addr)
	}
	a.mustConfigure(good)
	if status, _ := request(t, http.MethodPost, "http://"+addr+"/reload/", adminToken, ""); status != 200 {
		t.Errorf("status %d", status)
	}
}

// What a reload has done already is taken back when it fails further on.
func TestFailedReloadIsTakenBack(t *testing.T) {
	good := configuration(map[string]string{"shop": everything(shopToken)})
	a := startApp(t, good)
	pids, addr := a.pids(), a.Addr()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	bad := strings.Replace(good, "listen: 127.0.0.1:0", "listen: localhost:0", 1) +
		"  more: {kind: wamp, router: {listen: \"" + taken.Addr().String() + "\", realms: [realm1]}}\n" +
		"  third: " + wampBackend + "\n"
	err = a.configure(strings.Replace(bad, shopToken, otherToken, 1))
	if err == nil || !strings.Contains(err.Error(), "more") || core.CodeOf(err) != core.InvalidArgument {
		t.Fatalf("reload: %v", err)
	}
	if now := a.pids(); fmt.Sprint(now) != fmt.Sprint(pids) || a.Addr() != addr {
		t.Errorf("processes %v, were %v; address %s, was %s", now, pids, a.Addr(), addr)
	}
	a.post("/publish/x/", otherToken, `{}`, 401)
	a.post("/publish/x/", shopToken, `{}`, 200)
}

func TestReloadChangesBackendsOneByOne(t *testing.T) {
	tokens := map[string]string{"shop": everything(shopToken)}
	a := startApp(t, configuration(tokens, "a: "+wampBackend, "b: "+wampBackend))
	web := newWebApp(t, "null")
	a.post("/register/", shopToken, `{"endpoints": {"p": "`+web.URL+`", "a:p": "`+web.URL+`", "b:p": "`+web.URL+`"}}`, 200)
	before := a.pids()
	a.mustConfigure(configuration(tokens, "b: "+strings.Replace(wampBackend, "[realm1]", "[realm1, realm2]", 1), "c: "+wampBackend))
	after := a.pids()
	if after["wamp"] != before["wamp"] || after["b"] == 0 || after["c"] == 0 || after["a"] != 0 || len(after) != 3 {
		t.Errorf("processes before %v, after %v", before, after)
	}
	if alive(before["a"]) {
		t.Error("the process of the removed backend is left")
	}
	if got := a.held("shop"); got != "reg b:p, reg wamp:p" {
		t.Errorf("shop holds %q", got)
	}
	a.post("/call/p/", shopToken, `{}`, 200)
	eventually(t, "call on the changed backend", func() bool {
		status, _ := request(t, http.MethodPost, "http://"+a.Addr()+"/call/b:p/", shopToken, `{}`)
		return status == 200
	})
	a.post("/call/a:p/", shopToken, `{}`, 404)
	a.post("/publish/c:p/", shopToken, `{}`, 200)
}

func TestReloadMovesTheDoor(t *testing.T) {
	text := configuration(map[string]string{"shop": everything(shopToken)})
	a := startApp(t, text)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	old := a.Addr()
	kept := func(what string) {
		t.Helper()
		response, err := client.Get("http://" + old + "/healthz")
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	kept("before")

	// Another address: the connection of before goes on, the old address is closed.
	a.mustConfigure(strings.Replace(text, "listen: 127.0.0.1:0", "listen: localhost:0", 1))
	if a.Addr() == old {
		t.Fatal("the address is the same")
	}
	kept("a connection of before the change")
	if c, err := net.Dial("tcp", old); err == nil {
		c.Close()
		t.Error("the former address is open")
	}
	a.post("/publish/x/", shopToken, `{}`, 200)

	// The same port on other addresses can only be had once the old one is closed.
	_, port, _ := net.SplitHostPort(a.Addr())
	a.mustConfigure(strings.Replace(text, "listen: 127.0.0.1:0", "listen: 0.0.0.0:"+port, 1))
	if status, _ := request(t, http.MethodGet, "http://127.0.0.1:"+port+"/healthz", "", ""); status != 200 {
		t.Errorf("status %d", status)
	}

	// What cannot be bound is refused, and the old address stays.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := a.configure(strings.Replace(text, "listen: 127.0.0.1:0", "listen: "+taken.Addr().String(), 1)); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("reload: %v", err)
	}
	if status, _ := request(t, http.MethodGet, "http://127.0.0.1:"+port+"/healthz", "", ""); status != 200 {
		t.Errorf("status %d", status)
	}
}

func TestReloadRenewsTheCertificate(t *testing.T) {
	text := configuration(map[string]string{"shop": everything(shopToken)}) + "tls: {cert: cert.pem, key: key.pem}\n"
	dir := t.TempDir()
	first := writeCertificate(t, dir)
	text = strings.NewReplacer("cert.pem", filepath.Join(dir, "cert.pem"), "key.pem", filepath.Join(dir, "key.pem")).Replace(text)
	a := startApp(t, text)
	serial := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", a.Addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.ConnectionState().NegotiatedProtocol != "h2" {
			t.Error("no HTTP/2")
		}
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	if got := serial(); got != first {
		t.Errorf("certificate %s, want %s", got, first)
	}
	second := writeCertificate(t, dir)
	a.mustConfigure(text)
	if got := serial(); got != second {
		t.Errorf("certificate %s, want %s", got, second)
	}
}

func writeCertificate(t *testing.T, dir string) (serial string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	number, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	template := &x509.Certificate{SerialNumber: number, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	writeFile(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return number.String()
}

func TestReloadChangesWhereCallbacksMayGo(t *testing.T) {
	text := configuration(map[string]string{"shop": everything(shopToken)})
	a := startApp(t, text)
	web := newWebApp(t, "null")
	body := `{"endpoints": {"p": "` + web.URL + `"}}`
	a.post("/register/", shopToken, body, 200)
	a.mustConfigure(text + "callbacks: {allow: [10.0.0.0/8]}\n")
	a.post("/register/", shopToken, body, 422)
	a.post("/call/p/", shopToken, `{}`, 502)
	a.mustConfigure(text)
	a.post("/call/p/", shopToken, `{}`, 200)
}

func TestStopFinishesWhatIsUnderWay(t *testing.T) {
	a := startApp(t, configuration(map[string]string{"shop": everything(shopToken)}))
	web := newWebApp(t, `"done"`)
	web.hold = make(chan struct{})
	results := newWebApp(t, "null")
	a.post("/register/", shopToken, `{"endpoints": {"p": "`+web.URL+`"}}`, 200)
	a.post("/subscribe/", shopToken, `{"endpoints": {"t": "`+web.URL+`"}}`, 200)

	// A request, an asynchronous call and a delivery, each waiting for the web app.
	answer := make(chan string, 1)
	addr := a.Addr()
	go func() {
		_, body := request(t, http.MethodPost, "http://"+addr+"/call/p/", shopToken, `{}`)
		answer <- body
	}()
	receive(t, "invocation", web.got)
	a.post("/call/p/", shopToken, `{"callback": "`+results.URL+`"}`, 202)
	receive(t, "second invocation", web.got)
	a.post("/publish/t/", shopToken, `{}`, 200)
	receive(t, "event", web.got)

	stopped := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	go func() { stopped <- a.Stop(ctx) }()
	a.stopped.Do(func() {})
	eventually(t, "not ready", func() bool { return a.ready() != nil })
	eventually(t, "the door is closed", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if err := a.Reload(t.Context()); core.CodeOf(err) != core.Unavailable {
		t.Errorf("reload while stopping: %v", err)
	}
	close(web.hold)
	if body := receive(t, "answer", answer); !strings.Contains(body, "done") {
		t.Errorf("answer %s", body)
	}
	if body := receive(t, "result", results.got); !strings.Contains(body, "done") {
		t.Errorf("result %s", body)
	}
	if err := receive(t, "stop", stopped); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestStopIsBounded(t *testing.T) {
	a := startApp(t, configuration(map[string]string{"shop": everything(shopToken)}))
	web := newWebApp(t, "null")
	web.hold = make(chan struct{})
	a.post("/subscribe/", shopToken, `{"endpoints": {"t": "`+web.URL+`"}}`, 200)
	a.post("/publish/t/", shopToken, `{}`, 200)
	receive(t, "event", web.got)
	pid := a.pids()["wamp"]
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // the second signal
	a.stopped.Do(func() {})
	if err := within(t, "stop", func() error { return a.Stop(ctx) }); err == nil {
		t.Error("nothing was cut off")
	}
	receive(t, "the attempt to be given up", web.dropped)
	if alive(pid) {
		t.Error("the process of the backend is left")
	}
}

func TestFailedStartLeavesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tokens := map[string]string{"shop": everything(shopToken)}
	for name, test := range map[string]struct{ text, want string }{
		"port":    {strings.Replace(configuration(tokens), "127.0.0.1:0", taken.Addr().String(), 1), "--listen"},
		"backend": {configuration(tokens, `more: {kind: wamp, router: {listen: "`+taken.Addr().String()+`", realms: [realm1]}}`), "start backend more"},
		"plugin":  {configuration(tokens, "mine: {plugin: /bin/true}"), "start backend mine"},
		"sum":     {configuration(tokens, "mine: {plugin: /bin/true, sha256: "+strings.Repeat("0a", 32)+"}"), "checksum"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, test.text)
			err := a.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("start: %v", err)
			}
			if n := len(a.processes()); n != 0 {
				t.Errorf("%d processes are left", n)
			}
		})
	}
}

func TestStatusOfTheApp(t *testing.T) {
	a := startApp(t, configuration(map[string]string{"admin": everything(adminToken), "shop": `{token: ` + shopToken + `, allow: ["call:x"]}`}))
	status, answer := request(t, http.MethodGet, "http://"+a.Addr()+"/status/", adminToken, "")
	var s struct {
		Backends []struct {
			Name    string
			Process struct{ PID int }
		}
	}
	if err := json.Unmarshal([]byte(answer), &s); err != nil || status != 200 || len(s.Backends) != 1 || !alive(s.Backends[0].Process.PID) {
		t.Errorf("status %d: %s", status, answer)
	}
	if status, _ := request(t, http.MethodGet, "http://"+a.Addr()+"/status/", shopToken, ""); status != 403 {
		t.Errorf("status %d for a token that may not", status)
	}
}

// The sections that backends get are the same bytes for the same tokens.
func TestSections(t *testing.T) {
	text := configuration(map[string]string{
		"shop": everything(shopToken), "other": `{token: ` + otherToken + `, allow: ["call:more:x.*", "admin"]}`,
		"third": `{token: a-third-token-of-some-length, allow: ["publish:y"]}`,
	}, "more: "+wampBackend)
	a := newTestApp(t, text)
	defer a.abandon()
	tokens, err := a.tokenSet(a.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range a.config.Backends {
		section := sectionFor(b, tokens)
		if !bytes.Equal(section, sectionFor(b, tokens)) || !json.Valid(section) {
			t.Errorf("section %s", section)
		}
		want := `"tokens":[{"name":"shop","hash":"` + strings.TrimPrefix(hashOf(shopToken), "sha256:") + `","allow":["*"]},`
		if b.Name == "more" {
			want = `"tokens":[{"name":"other","hash":"` + strings.TrimPrefix(hashOf(otherToken), "sha256:") + `","allow":["call:x.*"]},{"name":"shop"`
		}
		if !strings.Contains(string(section), want) {
			t.Errorf("section %s, want %s in it", section, want)
		}
	}
}
