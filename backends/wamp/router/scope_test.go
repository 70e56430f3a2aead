package router

import (
	"testing"

	"github.com/gammazero/nexus/v3/wamp"
)

func TestScopes(t *testing.T) {
	r := start(t, Config{
		Anonymous: everything(),
		Principals: map[string]Principal{
			"shop": {Ticket: "t", Allow: []string{"call:com.shop.*", "register:com.shop.*", "publish:com.*.created", "subscribe:com.shop.*"}},
			"meta": {Ticket: "t", Allow: []string{"call:wamp.session.*", "subscribe:wamp.*"}},
			"none": {Ticket: "t"},
		},
	})
	type request struct {
		verb, name, match string
		want              wamp.URI // empty: allowed
	}
	denied := wamp.ErrNotAuthorized
	for who, requests := range map[string][]request{
		"shop": {
			{"call", "com.shop.x", "", wamp.ErrNoSuchProcedure},
			{"call", "com.shopping", "", denied},
			{"call", "com.mail.x", "", denied},
			{"call", "wamp.session.count", "", denied},
			{"register", "com.shop.a", "", ""},
			{"register", "com.shop.", "prefix", ""},
			{"register", "com.shop", "prefix", denied},
			{"register", "com.shop.b", "prefix", ""},
			{"register", "com.shop..x", "wildcard", ""},
			{"register", "com..x", "wildcard", denied},
			{"register", "com.mail", "", denied},
			{"publish", "com.user.created", "", ""},
			{"publish", "com.user.deleted", "", denied},
			{"publish", "com.user.x.created", "", denied},
			{"subscribe", "com.shop.order", "", ""},
			{"subscribe", "com.shop.order.", "prefix", ""},
			{"subscribe", "com.", "prefix", denied},
			{"subscribe", "", "prefix", denied},
			{"subscribe", "com.shop.", "wildcard", ""},
			{"subscribe", "..", "wildcard", denied},
			{"subscribe", "wamp.session.on_join", "", denied},
		},
		"meta": {
			{"call", "wamp.session.count", "", "result"},
			{"call", "wamp.registration.list", "", denied},
			{"subscribe", "wamp.session.on_join", "", ""},
			{"publish", "wamp.session.on_join", "", wamp.ErrInvalidURI},
			{"publish", "com.topic", "", denied},
		},
		"none": {
			{"call", "com.x", "", denied}, {"register", "com.x", "", denied},
			{"publish", "com.x", "", denied}, {"subscribe", "com.x", "", denied},
		},
		"": { // anonymous, with *
			{"call", "wamp.session.count", "", "result"},
			{"call", "wamp.registration.list", "", "result"},
			{"call", "wamp.subscription.list", "", "result"},
			{"call", "wamp.session.kill_all", "", wamp.ErrNoSuchProcedure},
			{"subscribe", "", "prefix", ""},
			{"register", "wamp.x", "", wamp.ErrInvalidURI},
			{"register", "com.mail.x", "", ""},
		},
	} {
		p := dial(t, r, wsJSON)
		if who == "" {
			p.enter(hello("realm1", nil))
		} else {
			joinTicket(p, who, "t")
		}
		for _, q := range requests {
			id, uri := p.request(), wamp.URI(q.name)
			var options wamp.Dict
			if q.match != "" {
				options = wamp.Dict{"match": q.match}
			}
			switch q.verb {
			case "call":
				p.send(&wamp.Call{Request: id, Procedure: uri})
			case "register":
				p.send(&wamp.Register{Request: id, Procedure: uri, Options: options})
			case "publish":
				p.send(&wamp.Publish{Request: id, Topic: uri, Options: wamp.Dict{"acknowledge": true}})
			case "subscribe":
				p.send(&wamp.Subscribe{Request: id, Topic: uri, Options: options})
			}
			var got wamp.URI
			m := p.recv()
			for _, ok := m.(*wamp.Event); ok; _, ok = m.(*wamp.Event) {
				m = p.recv() // of wamp.session.on_join
			}
			switch m := m.(type) {
			case *wamp.Error:
				got = m.Error
			case *wamp.Result:
				got = "result"
			}
			if got != q.want {
				t.Errorf("%s: %s %s %s: %q, want %q", who, q.verb, q.name, q.match, got, q.want)
			}
		}
	}
}

func TestMetaProcedures(t *testing.T) {
	r := start(t, Config{Anonymous: everything()})
	for _, tr := range transports() {
		t.Run(tr.String(), func(t *testing.T) {
			p := join(t, r, tr)
			reg := p.register("com.proc", wamp.Dict{"invoke": "roundrobin"})
			sub := p.subscribe("com.topic", wamp.Dict{"match": "prefix"})
			ask := func(procedure string, args ...any) any {
				t.Helper()
				p.call(procedure, wamp.Dict{"timeout": 5000}, args...)
				v := values(expect[*wamp.Result](p))
				if len(v) != 1 {
					t.Fatalf("%s: %v", procedure, v)
				}
				return v[0]
			}
			dict := func(v any) map[string]any {
				t.Helper()
				d, ok := v.(map[string]any)
				if !ok {
					t.Fatalf("%v", v)
				}
				return d
			}
			if n := ask("wamp.session.count"); n != 1.0 {
				t.Errorf("count %v", n)
			}
			if d := dict(ask("wamp.session.get", p.id)); d["session"] != float64(p.id) || dict(d["transport"])["type"] != map[bool]string{false: "websocket", true: "rawsocket"}[tr.raw] {
				t.Errorf("session %v", d)
			}
			if d := dict(ask("wamp.registration.get", reg)); d["uri"] != "com.proc" || d["match"] != "exact" || d["invoke"] != "roundrobin" {
				t.Errorf("registration %v", d)
			}
			if id := ask("wamp.registration.match", "com.proc"); id != float64(reg) {
				t.Errorf("match %v", id)
			}
			if d := dict(ask("wamp.subscription.get", sub)); d["uri"] != "com.topic" || d["match"] != "prefix" {
				t.Errorf("subscription %v", d)
			}
			p.call("wamp.session.get", nil, 1)
			p.failed(wamp.ErrNoSuchSession)
			p.close()
			eventually(t, "gone", func() bool { return r.Counters()["sessions_now"] == 0 })
		})
	}
}

// Testaments are published by nexus in nobody's name, with options that it does not
// check.
func TestTestaments(t *testing.T) {
	r := start(t, Config{Anonymous: everything(), Principals: map[string]Principal{
		"ann": {Ticket: "t", Allow: []string{"call:wamp.session.*", "publish:com.mine"}},
	}})
	sub := join(t, r, rsCBOR)
	sub.subscribe("com.", wamp.Dict{"match": "prefix"})
	ann := dial(t, r, wsJSON)
	joinTicket(ann, "ann", "t")
	for _, c := range []struct {
		topic   any
		options any
	}{
		{"com.other", nil}, {"wamp.session.on_join", nil}, {7, nil}, {"com.mine", "x"},
		{"com.mine", wamp.Dict{"ppt_scheme": "wamp"}}, {"com.mine", wamp.Dict{"exclude": 1}},
	} {
		ann.send(&wamp.Call{Request: ann.request(), Procedure: wamp.MetaProcSessionAddTestament,
			Arguments: wamp.List{c.topic, wamp.List{1}, wamp.Dict{}}, ArgumentsKw: wamp.Dict{"publish_options": c.options}})
		ann.failed(wamp.ErrInvalidArgument)
	}
	ann.send(&wamp.Call{Request: ann.request(), Procedure: wamp.MetaProcSessionAddTestament,
		Arguments: wamp.List{"com.mine", wamp.List{1, "x"}, wamp.Dict{"k": true}}})
	expect[*wamp.Result](ann)
	ann.close()
	ev := expect[*wamp.Event](sub)
	if ev.Details["topic"] != "com.mine" {
		t.Errorf("%v", ev.Details)
	}
	wantArgs(t, ev, 1, "x")
}
