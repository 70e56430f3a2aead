package router

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gammazero/nexus/v3/wamp/crsign"
)

func withMethods(realm, authid string, methods ...any) *wamp.Hello {
	return hello(realm, wamp.Dict{"authid": authid, "authmethods": wamp.List(methods)})
}

// joinTicket joins realm1 with a ticket.
func joinTicket(p *peer, authid, ticket string) *wamp.Welcome {
	p.t.Helper()
	p.send(withMethods("realm1", authid, "ticket"))
	expect[*wamp.Challenge](p)
	p.send(&wamp.Authenticate{Signature: ticket, Extra: wamp.Dict{}})
	w := expect[*wamp.Welcome](p)
	p.id = w.ID
	return w
}

func keyPair(seed byte) (public string, private ed25519.PrivateKey) {
	var s [32]byte
	s[0] = seed
	k := ed25519.NewKeyFromSeed(s[:])
	return hex.EncodeToString(k.Public().(ed25519.PublicKey)), k
}

func hashOf(token string) string {
	h := sha256.Sum256([]byte(token))
	return "sha256:" + hex.EncodeToString(h[:])
}

// answerTo makes the answer to a CHALLENGE with the given secret.
func answerTo(c *wamp.Challenge, secret string, key ed25519.PrivateKey) string {
	switch c.AuthMethod {
	case "wampcra":
		return crsign.RespondChallenge(secret, c, nil)
	case "cryptosign":
		challenge, _ := hex.DecodeString(c.Extra["challenge"].(string))
		return hex.EncodeToString(append(ed25519.Sign(key, challenge), challenge...))
	}
	return secret
}

func TestAuthMethods(t *testing.T) {
	pub, key := keyPair(1)
	_, otherKey := keyPair(2)
	r := start(t, Config{
		Realms:    []Realm{"realm1", "realm2"},
		Anonymous: &Anonymous{},
		Principals: map[string]Principal{
			"tick":   {Ticket: "s3cret", Role: "clerk"},
			"cra":    {Secret: "s3cret"},
			"salted": {Secret: "s3cret", Salt: "pepper", Iterations: 100, KeyLen: 32},
			"key":    {PublicKeys: []string{pub}},
			"both":   {Ticket: "s3cret", Secret: "s3cret", Realms: []Realm{"realm2"}},
		},
		Tokens: []Token{{Name: "app", Hash: hashOf("tok")}},
	})
	for _, c := range []struct {
		authid, method, secret string
		key                    ed25519.PrivateKey
		role, provider         string // of WELCOME; empty: refused
		realm                  string
	}{
		{"tick", "ticket", "s3cret", nil, "clerk", "static", "realm1"},
		{"tick", "ticket", "S3cret", nil, "", "", "realm1"},
		{"tick", "ticket", "", nil, "", "", "realm1"},
		{"tick", "wampcra", "s3cret", nil, "", "", "realm1"},
		{"cra", "wampcra", "s3cret", nil, "user", "static", "realm1"},
		{"cra", "wampcra", "wrong", nil, "", "", "realm1"},
		{"salted", "wampcra", "s3cret", nil, "user", "static", "realm1"},
		{"salted", "wampcra", "wrong", nil, "", "", "realm1"},
		{"key", "cryptosign", "", key, "user", "static", "realm1"},
		{"key", "cryptosign", "", otherKey, "", "", "realm1"},
		{"app", "ticket", "tok", nil, "token", "token", "realm1"},
		{"app", "ticket", hashOf("tok"), nil, "", "", "realm1"},
		{"both", "ticket", "s3cret", nil, "", "", "realm1"},
		{"both", "ticket", "s3cret", nil, "user", "static", "realm2"},
		{"nobody", "ticket", "s3cret", nil, "", "", "realm1"},
		{"nobody", "wampcra", "s3cret", nil, "", "", "realm1"},
		{"nobody", "cryptosign", "", key, "", "", "realm1"},
		{"", "ticket", "s3cret", nil, "", "", "realm1"},
		{"anybridge", "ticket", "", nil, "", "", "realm1"},
	} {
		for _, tr := range []transport{wsJSON, rsCBOR} {
			t.Run(fmt.Sprintf("%s by %s with %q on %s %s", c.authid, c.method, c.secret, c.realm, tr), func(t *testing.T) {
				p := dial(t, r, tr)
				p.send(withMethods(c.realm, c.authid, c.method))
				ch := expect[*wamp.Challenge](p)
				if ch.AuthMethod != c.method {
					t.Fatalf("CHALLENGE by %s", ch.AuthMethod)
				}
				k := c.key
				if k == nil {
					k = key
				}
				p.send(&wamp.Authenticate{Signature: answerTo(ch, c.secret, k), Extra: wamp.Dict{}})
				if c.role == "" {
					p.aborted(wamp.ErrAuthenticationFailed, errAuthentication.Error())
					return
				}
				w := expect[*wamp.Welcome](p)
				for k, want := range map[string]string{"authid": c.authid, "authmethod": c.method, "authrole": c.role, "authprovider": c.provider} {
					if w.Details[k] != want {
						t.Errorf("WELCOME %s %v, want %s", k, w.Details[k], want)
					}
				}
				p.close()
			})
			r.gate.mu.Lock()
			r.gate.hosts = nil // do not wait for the next ones
			r.gate.mu.Unlock()
		}
	}
	if n := r.Counters()["auth_failures"]; n != 26 {
		t.Errorf("%d failures, want 26", n)
	}
}

// The first method offered that the principal can do is taken.
func TestAuthMethodChoice(t *testing.T) {
	r := start(t, Config{Anonymous: &Anonymous{}, Principals: map[string]Principal{"cra": {Secret: "s"}, "tick": {Ticket: "s"}}})
	for _, c := range []struct {
		hello *wamp.Hello
		want  string
	}{
		{withMethods("realm1", "cra", "cryptosign", "ticket", "wampcra", "anonymous"), "wampcra"},
		{withMethods("realm1", "cra", "anonymous", "wampcra"), "anonymous"},
		{withMethods("realm1", "tick", "wampcra", "ticket"), "ticket"},
		{hello("realm1", nil), "anonymous"},
		{hello("realm1", wamp.Dict{"authmethods": wamp.List{}}), "anonymous"},
	} {
		p := dial(t, r, wsJSON)
		p.send(c.hello)
		got := ""
		switch m := p.recv().(type) {
		case *wamp.Challenge:
			got = m.AuthMethod
		case *wamp.Welcome:
			got = m.Details["authmethod"].(string)
		}
		if got != c.want {
			t.Errorf("%v: %s, want %s", c.hello.Details["authmethods"], got, c.want)
		}
	}
	p := dial(t, r, wsJSON)
	p.send(withMethods("realm1", "cra", "local"))
	p.aborted(wamp.ErrNoAuthMethod, "")
}

// Cryptosign clients may leave out their authid.
func TestCryptosignByKey(t *testing.T) {
	pub, key := keyPair(1)
	r := start(t, Config{Principals: map[string]Principal{"key": {PublicKeys: []string{pub}}}})
	p := dial(t, r, wsJSON)
	p.send(hello("realm1", wamp.Dict{"authmethods": wamp.List{"cryptosign"}, "authextra": wamp.Dict{"pubkey": pub}}))
	p.send(&wamp.Authenticate{Signature: answerTo(expect[*wamp.Challenge](p), "", key), Extra: wamp.Dict{}})
	if w := expect[*wamp.Welcome](p); w.Details["authid"] != "key" {
		t.Errorf("%v", w.Details)
	}
}

// An unknown authid is asked the same as a known one, each time.
func TestUnknownAuthidLooksKnown(t *testing.T) {
	r := start(t, Config{Principals: map[string]Principal{"known": {Secret: "s", Salt: "pepper"}}})
	ask := func(authid string) *wamp.Challenge {
		p := dial(t, r, wsJSON)
		p.send(withMethods("realm1", authid, "wampcra", "ticket"))
		ch := expect[*wamp.Challenge](p)
		p.close()
		return ch
	}
	methods := map[string]bool{}
	for i := range 20 {
		id := fmt.Sprintf("unknown%d", i)
		a, b := ask(id), ask(id)
		methods[a.AuthMethod] = true
		if a.AuthMethod != b.AuthMethod || a.Extra["salt"] != b.Extra["salt"] || fmt.Sprint(a.Extra["iterations"]) != fmt.Sprint(b.Extra["iterations"]) {
			t.Errorf("%s is asked %v and %v", id, a, b)
		}
		if a.AuthMethod == "wampcra" && (a.Extra["salt"] == nil || len(a.Extra) != len(ask("known").Extra)) {
			t.Errorf("%s is asked %v", id, a.Extra)
		}
	}
	if len(methods) != 2 {
		t.Errorf("unknown authids are asked by %v only", methods)
	}
}

func TestAnonymousByDefault(t *testing.T) {
	r := start(t, Config{})
	p := join(t, r, wsJSON)
	p.call("wamp.session.count", nil)
	p.failed(wamp.ErrNotAuthorized)
	p.subscribe("com.topic", nil)

	for _, c := range []struct {
		listen string
		local  bool
		want   bool
	}{
		{"127.0.0.1:0", true, true}, {"127.0.0.1:0", false, false}, {"[::1]:0", true, true}, {"localhost:0", true, true},
		{"0.0.0.0:0", true, false}, {":0", true, false}, {"192.0.2.1:80", true, false},
	} {
		st, err := newSettings(Config{Listen: c.listen, Realms: []Realm{"r"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := st.anonymousAllowed(c.local); got != c.want {
			t.Errorf("%s, local %v: %v", c.listen, c.local, got)
		}
	}
	st, err := newSettings(Config{Listen: "0.0.0.0:80", Realms: []Realm{"r"}, Anonymous: &Anonymous{}})
	if err != nil || !st.anonymousAllowed(false) {
		t.Errorf("configured: %v", err)
	}
}

func TestGateSlowsGuessing(t *testing.T) {
	var g gate
	now := time.Unix(1000, 0)
	for i, want := range []int{-400, -300, -200, -100, 0, 100, 200} {
		if got := g.note("a", now); got.Milliseconds() != int64(want) {
			t.Errorf("failure %d: %v, want %d ms", i+1, got, want)
		}
	}
	for range 100 {
		g.note("a", now)
	}
	if got := g.note("a", now); got != maxDelay {
		t.Errorf("%v, want %v", got, maxDelay)
	}
	if got := g.note("b", now); got > 0 {
		t.Errorf("another address waits %v", got)
	}
	if got := g.note("a", now.Add(2*forgetAfter)); got > 0 {
		t.Errorf("later: %v", got)
	}
	for i := range 3 * maxHosts {
		g.note(fmt.Sprint(i), now)
	}
	if len(g.hosts) > maxHosts {
		t.Errorf("%d addresses", len(g.hosts))
	}
}

// Nothing secret is in errors.
func TestConfigErrorsNameKeysAndKeepSecrets(t *testing.T) {
	_, err := New(Config{
		Listen: "nonsense", Path: "ws", Realms: []Realm{"a b", "ok", "ok"}, Origins: []string{"a/b"},
		TLS:        &TLS{Cert: "/nonexistent", Key: "/nonexistent"},
		Anonymous:  &Anonymous{Allow: []string{"fly:*"}},
		Principals: map[string]Principal{"p": {Ticket: "hunter2", Role: "trusted", Realms: []Realm{"x"}, Allow: []string{"call:redis:x"}}, "q": {}, "anybridge": {Ticket: "hunter2"}},
		Tokens:     []Token{{Name: "t", Hash: "hunter2"}, {Name: "", Hash: hashOf("x")}},
		Limits:     Limits{MaxMessage: 1, QueueBytes: 5, MaxSessions: -1},
	}, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"listen: ", "path: ", "realms[0]: ", "realms[2]: ", "origins[0]: ", "tls: ", "anonymous.allow: ", "principals.p: ", "role: ", "realms[0]: ",
		"principals.q: ", "principals.anybridge: ", "tokens[0]: hash: ", "tokens[1]: name: ", "limits.max_message: ", "limits.queue_bytes: ", "limits.max_sessions: ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a secret in\n%v", err)
	}
}
