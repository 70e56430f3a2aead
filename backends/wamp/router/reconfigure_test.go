package router

import (
	"strings"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"
)

func TestReconfigureRevokes(t *testing.T) {
	config := func() Config {
		return Config{
			Listen: "127.0.0.1:0", Realms: []Realm{"realm1", "realm2"},
			Principals: map[string]Principal{
				"kept":   {Ticket: "t", Allow: []string{"*"}},
				"scoped": {Ticket: "t", Allow: []string{"*"}},
				"gone":   {Ticket: "t", Allow: []string{"*"}},
				"secret": {Ticket: "t", Allow: []string{"*"}},
				"role":   {Ticket: "t", Allow: []string{"*"}},
				"realm":  {Ticket: "t", Allow: []string{"*"}},
				"holds":  {Ticket: "t", Allow: []string{"*"}},
			},
			Tokens: []Token{{Name: "app", Hash: hashOf("t"), Allow: []string{"*"}}},
		}
	}
	r := start(t, config())
	peers := map[string]*peer{}
	for _, id := range []string{"kept", "scoped", "gone", "secret", "role", "realm", "holds", "app"} {
		p := dial(t, r, transports()[len(peers)%6])
		joinTicket(p, id, "t")
		p.register("com."+id, nil)
		p.subscribe("com.topic."+id, nil)
		peers[id] = p
	}
	anon := join(t, r, wsJSON)
	anon.call("com.gone", nil)
	expect[*wamp.Invocation](peers["gone"])
	peers["gone"].call("com.kept", nil)
	expect[*wamp.Invocation](peers["kept"])

	bad := config()
	delete(bad.Principals, "kept")
	bad.Path = "relative"
	if err := r.Reconfigure(bad); err == nil || !strings.Contains(err.Error(), "path: ") {
		t.Fatalf("bad config: %v", err)
	}
	peers["kept"].sync()

	cfg := config()
	delete(cfg.Principals, "gone")
	cfg.Tokens = nil
	cfg.Principals["scoped"] = Principal{Ticket: "t", Allow: []string{"register:com.scoped", "subscribe:com.topic.scoped", "call:com.kept"}}
	cfg.Principals["secret"] = Principal{Ticket: "other", Allow: []string{"*"}}
	cfg.Principals["role"] = Principal{Ticket: "t", Role: "boss", Allow: []string{"*"}}
	cfg.Principals["realm"] = Principal{Ticket: "t", Allow: []string{"*"}, Realms: []Realm{"realm2"}}
	cfg.Principals["holds"] = Principal{Ticket: "t", Allow: []string{"call:*", "subscribe:*", "publish:*"}}
	if err := r.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	// The caller of a revoked callee and the revoked caller both get an answer.
	anon.failed(wamp.ErrCanceled)
	peers["gone"].failed(wamp.ErrCanceled)
	for _, id := range []string{"gone", "secret", "role", "realm", "holds", "app"} {
		if g := expect[*wamp.Goodbye](peers[id]); g.Reason != wamp.CloseNormal {
			t.Errorf("%s: GOODBYE %s", id, g.Reason)
		}
		if last := peers[id].ended(); last != nil {
			t.Errorf("%s: %v after GOODBYE", id, last.MessageType())
		}
		peers[id].close()
	}
	eventually(t, "revoked sessions gone", func() bool { return r.Counters()["sessions_now"] == 3 })
	for _, id := range []string{"com.gone", "com.app"} {
		anon.call(id, nil)
		anon.failed(wamp.ErrNoSuchProcedure)
	}
	peers["kept"].sync()
	scoped := peers["scoped"]
	scoped.call("com.kept", nil)
	scoped.call("com.other", nil)
	scoped.failed(wamp.ErrNotAuthorized)
	if n := r.Counters()["sessions_revoked"]; n != 6 {
		t.Errorf("%d revoked, want 6", n)
	}
	p := dial(t, r, wsJSON)
	p.send(withMethods("realm1", "secret", "ticket"))
	expect[*wamp.Challenge](p)
	p.send(&wamp.Authenticate{Signature: "t", Extra: wamp.Dict{}})
	p.aborted(wamp.ErrAuthenticationFailed, "")
	q := dial(t, r, wsJSON)
	joinTicket(q, "secret", "other")
}

func TestReconfigureAnonymous(t *testing.T) {
	cfg := Config{Listen: "127.0.0.1:0", Realms: []Realm{"realm1"}}
	r := start(t, cfg)
	a := join(t, r, wsJSON)
	cfg.Anonymous = &Anonymous{Allow: []string{"call:*"}}
	if err := r.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	a.send(&wamp.Subscribe{Request: a.request(), Topic: "com.topic"})
	a.failed(wamp.ErrNotAuthorized)
	cfg.Listen, cfg.Anonymous = "0.0.0.0:0", nil
	if err := r.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.ended().(*wamp.Goodbye); !ok {
		t.Error("no GOODBYE")
	}
	b := dial(t, r, wsJSON)
	b.send(hello("realm1", nil))
	b.aborted(wamp.ErrNoAuthMethod, "anonymous")
}

func TestReconfigureListener(t *testing.T) {
	cfg := Config{Listen: "127.0.0.1:0", Realms: []Realm{"realm1"}}
	r := start(t, cfg)
	before := r.URLs()
	a := join(t, r, wsJSON)
	cfg.Listen, cfg.Path = "localhost:0", "/wamp"
	if err := r.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if now := r.URLs(); now[0] == before[0] || !strings.HasSuffix(now[0], "/wamp") {
		t.Errorf("URLs %v after %v", now, before)
	}
	a.sync()
	join(t, r, wsJSON).sync()
	join(t, r, rsCBOR).sync()

	// The same port on another address, and back.
	port := before[1][strings.LastIndex(before[1], ":"):]
	for _, listen := range []string{"127.0.0.1" + port, "0.0.0.0" + port, "127.0.0.1" + port} {
		cfg.Listen, cfg.Anonymous = listen, everything()
		if err := r.Reconfigure(cfg); err != nil {
			t.Fatalf("%s: %v", listen, err)
		}
		join(t, r, wsJSON).sync()
	}
	a.sync()
	// One that cannot be had changes nothing.
	other := start(t, Config{})
	bad := cfg
	bad.Listen = "127.0.0.1" + other.URLs()[1][strings.LastIndex(other.URLs()[1], ":"):]
	bad.Anonymous = &Anonymous{}
	bad.Realms = []Realm{"realm1", "realm9"}
	if err := r.Reconfigure(bad); err == nil {
		t.Fatal("took a port that is in use")
	}
	join(t, r, wsJSON).sync()
	p := dial(t, r, wsJSON)
	p.send(hello("realm9", nil))
	p.aborted(wamp.ErrNoSuchRealm, "")
}

func TestReconfigureRealms(t *testing.T) {
	cfg := Config{Listen: "127.0.0.1:0", Realms: []Realm{"realm1", "realm2"}}
	r := start(t, cfg)
	a, b := join(t, r, wsJSON), dial(t, r, rsCBOR)
	b.enter(hello("realm2", nil))
	local, err := r.Attach("realm2", nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Realms = []Realm{"realm1", "realm3"}
	go func() {
		if g, ok := b.ended().(*wamp.Goodbye); !ok || g.Reason != wamp.ErrCloseRealm {
			t.Errorf("GOODBYE %v", g)
		}
		b.close()
	}()
	if err := r.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if g, ok := receive(t, local).(*wamp.Goodbye); !ok || g.Reason != wamp.ErrCloseRealm {
		t.Errorf("GOODBYE %v", g)
	}
	a.sync()
	c := dial(t, r, wsJSON)
	c.enter(hello("realm3", nil))
	c.sync()
	cfg.Realms = []Realm{"realm1", "realm2"} // back again
	go func() { _ = c.ended(); c.close() }()
	if err := r.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	d := dial(t, r, wsJSON)
	d.enter(hello("realm2", nil))
	d.sync()
}
