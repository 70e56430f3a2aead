package tests

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// signed is a callback as it came over the wire.
type signed struct {
	body   []byte
	header http.Header
}

// startInbox starts an app that looks at no signature, and keeps what came.
func startInbox(t testing.TB) (url string, next func() signed) {
	t.Helper()
	came := make(chan signed, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil {
			came <- signed{body: body, header: r.Header.Clone()}
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() signed {
		t.Helper()
		select {
		case s := <-came:
			return s
		case <-time.After(patience):
			t.Fatal("no callback came")
			return signed{}
		}
	}
}

// derived is the key that callbacks to a token's endpoints are signed with.
func derived(token string) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte("anybridge callback signing v1"))
	return "whsec_" + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// acceptedUnder is under which of the keys the official libraries for Go and Python
// accept a callback. They must agree.
func acceptedUnder(t testing.TB, s signed, keys map[string]string) string {
	t.Helper()
	var inGo []string
	for name, key := range keys {
		hook, err := standardwebhooks.NewWebhook(key)
		if err != nil {
			t.Fatal(err)
		}
		if hook.Verify(s.body, s.header) == nil {
			inGo = append(inGo, name)
		}
	}
	slices.Sort(inGo)
	headers := object{}
	for name := range s.header {
		headers[name] = s.header.Get(name)
	}
	l := startProgram(t, "python/webhooks.py", object{"body": string(s.body), "headers": headers, "keys": keys}).awaitOn(t, "verified")
	var inPython []string
	if err := json.Unmarshal(l.field("accepted"), &inPython); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(inGo, inPython) {
		t.Errorf("the library for Go accepts the callback under %v, that for Python under %v", inGo, inPython)
	}
	var payload callback
	if err := json.Unmarshal(l.field("payload"), &payload); len(inPython) > 0 && (err != nil || payload.Type == "") {
		t.Errorf("the library for Python takes the body for %s: %v", l.field("payload"), err)
	}
	return strings.Join(inGo, " ")
}

// What the bridge sends is accepted by the official Standard Webhooks libraries,
// also while a key is being replaced.
func TestOfficialLibrariesVerifyCallbacks(t *testing.T) {
	b := startBridge(t, setup{})
	own := "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("o", 32)))
	fresh := "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("n", 32)))
	keys := map[string]string{"token": derived(theToken), "other": derived("another token"), "own": own, "new": fresh}
	url, next := startInbox(t)
	for _, tt := range []struct {
		secret any
		want   string
	}{{nil, "token"}, {own, "own"}, {[]string{fresh, own}, "new own"}} {
		b.register(t, object{"com.example.p": object{"url": url, "secret": tt.secret}})
		b.subscribe(t, object{"com.example.t": object{"url": url, "secret": tt.secret}})
		b.call(t, "com.example.p", object{"args": []any{"h\u00e9llo", 9007199254740993}})
		b.publish(t, "com.example.t", object{"kwargs": object{"a": "\u2028"}})
		for range 2 {
			if got := acceptedUnder(t, next(), keys); got != tt.want {
				t.Errorf("with secret %v the callback is accepted under %q, want %q", tt.secret, got, tt.want)
			}
		}
	}
}

// An operator replaces a token: both texts let the app in, and callbacks verify with
// either, until the former one is taken out of the configuration.
func TestReplacingATokenKeepsCallbacksVerifiable(t *testing.T) {
	const former, current = theToken, "the-next-token-of-the-tests"
	b := startBridge(t, setup{})
	keys := map[string]string{"former": derived(former), "current": derived(current)}
	url, next := startInbox(t)
	configure := func(token string) {
		t.Helper()
		text, err := os.ReadFile(b.Config)
		if err != nil {
			t.Fatal(err)
		}
		from, _, _ := strings.Cut(string(text), "  tests: ")
		_, to, _ := strings.Cut(string(text), "allow: [\"*\"]}\n")
		if err := os.WriteFile(b.Config, []byte(from+"  tests: {"+token+", allow: [\"*\"]}\n"+to), 0o600); err != nil {
			t.Fatal(err)
		}
		if a := b.post(t, "/reload/", nil); a.Status != http.StatusOK && a.Status != http.StatusNoContent {
			t.Fatalf("reload: %d %s", a.Status, a.Body)
		}
	}
	subscribe := func(token, want string) {
		t.Helper()
		app := rest{url: b.URL, token: token}
		app.subscribe(t, object{"com.example.t": url})
		app.publish(t, "com.example.t", object{})
		if got := acceptedUnder(t, next(), keys); got != want {
			t.Errorf("the callback is accepted under %q, want %q", got, want)
		}
	}
	subscribe(former, "former")
	configure("token: " + current + ", previous: " + former)
	subscribe(former, "former")
	subscribe(current, "current former")
	subscribe(former, "current former")
	b.token = current
	configure("token: " + current)
	subscribe(current, "current")
	if a := (rest{url: b.URL, token: former}).get(t, "/subscribe/"); a.Status != http.StatusUnauthorized {
		t.Errorf("the former token gets %d %s", a.Status, a.Body)
	}
}
