package router

import (
	"fmt"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"
)

func TestSubscriptionMatchPolicies(t *testing.T) {
	r := start(t, Config{})
	sub, pub := join(t, r, wsJSON), join(t, r, rsCBOR)
	exact := sub.subscribe("com.shop.order", nil)
	if again := sub.subscribe("com.shop.order", nil); again != exact {
		t.Errorf("subscribed again as %d, want %d", again, exact)
	}
	prefix := sub.subscribe("com.shop", wamp.Dict{"match": "prefix"})
	wild := sub.subscribe("com..order", wamp.Dict{"match": "wildcard"})
	for topic, want := range map[string][]wamp.ID{
		"com.shop.order": {exact, prefix, wild}, "com.shopping": {prefix}, "com.mail.order": {wild}, "com.mail": {},
	} {
		id := pub.publish(topic, nil)
		got := map[wamp.ID]bool{}
		for range want {
			ev := expect[*wamp.Event](sub)
			got[ev.Subscription] = true
			if ev.Publication != id || (ev.Details["topic"] == topic) != (ev.Subscription != exact) {
				t.Errorf("%s: %+v", topic, ev)
			}
		}
		for _, id := range want {
			if !got[id] {
				t.Errorf("%s: no event for subscription %d", topic, id)
			}
		}
		sub.sync()
	}
	sub.send(&wamp.Unsubscribe{Request: sub.request(), Subscription: exact})
	expect[*wamp.Unsubscribed](sub)
	sub.send(&wamp.Unsubscribe{Request: sub.request(), Subscription: exact})
	sub.failed(wamp.ErrNoSuchSubscription)
	pub.publish("com.shop.order", nil)
	for range 2 {
		if ev := expect[*wamp.Event](sub); ev.Subscription == exact {
			t.Error("event after UNSUBSCRIBED")
		}
	}
}

// Somebody else's subscription cannot be taken away: nexus would confirm it.
func TestUnsubscribeOfOthers(t *testing.T) {
	r := start(t, Config{})
	a, b := join(t, r, wsJSON), join(t, r, wsJSON)
	sub, reg := a.subscribe("com.topic", nil), a.register("com.proc", nil)
	b.send(&wamp.Unsubscribe{Request: b.request(), Subscription: sub})
	b.failed(wamp.ErrNoSuchSubscription)
	b.send(&wamp.Unregister{Request: b.request(), Registration: reg})
	b.failed(wamp.ErrNoSuchRegistration)
}

func TestPublishOptions(t *testing.T) {
	principals := map[string]Principal{}
	for _, id := range []string{"ann", "bob", "cy"} {
		principals[id] = Principal{Ticket: id, Role: map[string]string{"ann": "clerk", "bob": "clerk", "cy": "boss"}[id], Allow: []string{"*"}}
	}
	r := start(t, Config{Principals: principals})
	peers := map[string]*peer{}
	for id, tr := range map[string]transport{"ann": wsJSON, "bob": rsCBOR, "cy": wsMsgPack} {
		p := dial(t, r, tr)
		joinTicket(p, id, id)
		p.subscribe("com.topic", nil)
		peers[id] = p
	}
	ann, bob := peers["ann"], peers["bob"]
	for _, c := range []struct {
		options wamp.Dict
		get     string // who receives what ann publishes
	}{
		{wamp.Dict{}, "bob cy"},
		{wamp.Dict{"exclude_me": false}, "ann bob cy"},
		{wamp.Dict{"exclude": wamp.List{bob.id}}, "cy"},
		{wamp.Dict{"eligible": wamp.List{bob.id}}, "bob"},
		{wamp.Dict{"eligible": wamp.List{}}, ""},
		{wamp.Dict{"exclude_authid": wamp.List{"bob", "nobody"}}, "cy"},
		{wamp.Dict{"eligible_authid": wamp.List{"bob", "ann"}, "exclude_me": false}, "ann bob"},
		{wamp.Dict{"exclude_authrole": wamp.List{"boss"}, "exclude_me": false}, "ann bob"},
		{wamp.Dict{"eligible_authrole": wamp.List{"clerk"}}, "bob"},
		{wamp.Dict{"eligible_authrole": wamp.List{"clerk"}, "exclude_authid": wamp.List{"bob"}}, ""},
		{wamp.Dict{"exclude_me": nil, "exclude": nil}, "bob cy"},
	} {
		for _, ack := range []bool{true, false} {
			c.options["acknowledge"] = ack
			ann.send(&wamp.Publish{Request: ann.request(), Topic: "com.topic", Options: c.options, Arguments: wamp.List{"x"}})
			got := ""
			for _, id := range []string{"ann", "bob", "cy"} {
				p := peers[id]
				if id == "ann" { // PUBLISHED and EVENT come in either order
					marker := p.call("test.no_such_procedure", nil)
					published := false
					for {
						m := p.recv()
						if e, ok := m.(*wamp.Error); ok && e.Request == marker {
							break
						}
						switch m.(type) {
						case *wamp.Published:
							published = true
						case *wamp.Event:
							got = "ann "
						}
					}
					if published != ack {
						t.Errorf("%v: published %v", c.options, published)
					}
					// The broker's part may come after the dealer's answer.
					if got == "" && contains(c.get, "ann") {
						expect[*wamp.Event](p)
						got = "ann "
					}
					continue
				}
				if contains(c.get, id) {
					wantArgs(t, expect[*wamp.Event](p), "x")
				} else {
					p.sync()
				}
			}
			if (got != "") != contains(c.get, "ann") {
				t.Errorf("%v: the publisher got it: %v", c.options, got != "")
			}
		}
	}
}

func contains(words, word string) bool {
	var found bool
	for _, w := range splitWords(words) {
		found = found || w == word
	}
	return found
}

func splitWords(s string) (out []string) {
	for len(s) > 0 {
		var w string
		if _, err := fmt.Sscan(s, &w); err != nil {
			return out
		}
		out = append(out, w)
		s = s[min(len(s), len(w)+1):]
	}
	return out
}

// The publisher is disclosed to those subscribers that know what it means.
func TestPublisherDisclosure(t *testing.T) {
	r := start(t, Config{Principals: map[string]Principal{"ann": {Ticket: "t", Role: "clerk", Allow: []string{"*"}}}})
	knows, plain := join(t, r, wsJSON), dial(t, r, rsJSON)
	plain.enter(&wamp.Hello{Realm: "realm1", Details: wamp.Dict{"roles": wamp.Dict{"subscriber": wamp.Dict{}}}})
	knows.subscribe("com.topic", nil)
	plain.subscribe("com.topic", nil)
	ann := dial(t, r, wsCBOR)
	joinTicket(ann, "ann", "t")
	ann.publish("com.topic", wamp.Dict{"disclose_me": true})
	d := expect[*wamp.Event](knows).Details
	if fmt.Sprint(d["publisher"]) != fmt.Sprint(ann.id) || d["publisher_authid"] != "ann" || d["publisher_authrole"] != "clerk" {
		t.Errorf("details %v", d)
	}
	if d := expect[*wamp.Event](plain).Details; len(d) != 0 {
		t.Errorf("details %v", d)
	}
	ann.publish("com.topic", nil)
	if d := expect[*wamp.Event](knows).Details; len(d) != 0 {
		t.Errorf("details %v", d)
	}
}

func TestSubscriptionsAreBounded(t *testing.T) {
	r := start(t, Config{Limits: Limits{MaxHeld: 2}})
	p := join(t, r, wsJSON)
	first := p.subscribe("com.a", nil)
	p.subscribe("com.b", nil)
	p.send(&wamp.Subscribe{Request: p.request(), Topic: "com.c"})
	p.failed(errTooMany)
	p.send(&wamp.Unsubscribe{Request: p.request(), Subscription: first})
	expect[*wamp.Unsubscribed](p)
	p.subscribe("com.c", nil)
	p.register("com.a", nil)
	p.register("com.b", nil)
	p.send(&wamp.Register{Request: p.request(), Procedure: "com.c"})
	p.failed(errTooMany)
}

func TestRealmsAreIsolated(t *testing.T) {
	r := start(t, Config{Realms: []Realm{"realm1", "realm2"}})
	a, b := join(t, r, wsJSON), dial(t, r, wsJSON)
	b.enter(hello("realm2", nil))
	a.subscribe("com.topic", nil)
	a.register("com.proc", nil)
	b.publish("com.topic", wamp.Dict{"retain": true})
	b.call("com.proc", nil)
	b.failed(wamp.ErrNoSuchProcedure)
	a.subscribe("com.topic", wamp.Dict{"get_retained": true})
	a.sync()
	c := dial(t, r, wsJSON)
	c.send(hello("realm3", nil))
	c.aborted(wamp.ErrNoSuchRealm, "no such realm")
}
