package router

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

func retain(more wamp.Dict) wamp.Dict {
	d := wamp.Dict{"retain": true}
	for k, v := range more {
		d[k] = v
	}
	return d
}

func getRetained(match string) wamp.Dict { return wamp.Dict{"get_retained": true, "match": match} }

func TestRetainedEvents(t *testing.T) {
	r := start(t, Config{})
	pub := join(t, r, wsJSON)
	pub.publish("com.a.x", retain(nil), 1)
	first := pub.publish("com.a.x", retain(wamp.Dict{"disclose_me": true}), 2, []byte{0})
	pub.publish("com.a.x", nil, 3) // not retained
	pub.publish("com.b.x", retain(nil))
	eventually(t, "two retained", func() bool { return r.Counters()["retained_now"] == 2 })
	for _, tr := range transports() {
		t.Run(tr.String(), func(t *testing.T) {
			p := join(t, r, tr)
			sub := p.subscribe("com.a.x", getRetained("exact"))
			ev := expect[*wamp.Event](p)
			if ev.Subscription != sub || ev.Publication != first || ev.Details["retained"] != true || ev.Details["topic"] != nil {
				t.Errorf("%+v", ev)
			}
			if fmt.Sprint(ev.Details["publisher"]) != fmt.Sprint(pub.id) {
				t.Errorf("details %v", ev.Details)
			}
			wantArgs(t, ev, 2, "\x00AA==")
			p.subscribe("com.", getRetained("prefix"))
			for _, topic := range []string{"com.a.x", "com.b.x"} {
				if ev := expect[*wamp.Event](p); ev.Details["topic"] != topic || ev.Details["retained"] != true {
					t.Errorf("%+v, want topic %s", ev, topic)
				}
			}
			p.subscribe("com.b.", getRetained("wildcard"))
			if ev := expect[*wamp.Event](p); ev.Details["topic"] != "com.b.x" || values(ev) != nil {
				t.Errorf("%+v", ev)
			}
			// Again, although it is subscribed already; and not without the option.
			p.subscribe("com.a.x", getRetained("exact"))
			expect[*wamp.Event](p)
			p.subscribe("com.a.x", nil)
			p.sync()
			p.close()
		})
	}
}

func TestRetainedEligibility(t *testing.T) {
	r := start(t, Config{Principals: map[string]Principal{
		"ann": {Ticket: "t", Role: "clerk", Allow: []string{"*"}}, "bob": {Ticket: "t", Role: "boss", Allow: []string{"*"}},
	}})
	ann, bob := dial(t, r, wsJSON), dial(t, r, rsCBOR)
	joinTicket(ann, "ann", "t")
	joinTicket(bob, "bob", "t")
	ann.publish("com.all", retain(nil))
	ann.publish("com.me", retain(wamp.Dict{"exclude_me": false}))
	ann.publish("com.boss", retain(wamp.Dict{"eligible_authrole": wamp.List{"boss"}}))
	ann.publish("com.notbob", retain(wamp.Dict{"exclude_authid": wamp.List{"bob"}, "exclude_me": false}))
	for _, c := range []struct {
		p    *peer
		want []string
	}{{ann, []string{"com.me", "com.notbob"}}, {bob, []string{"com.all", "com.me", "com.boss"}}} {
		c.p.subscribe("com.", getRetained("prefix"))
		for _, topic := range c.want {
			if ev := expect[*wamp.Event](c.p); ev.Details["topic"] != topic {
				t.Errorf("%v, want %s", ev.Details, topic)
			}
		}
		c.p.send(&wamp.Unsubscribe{Request: c.p.request(), Subscription: 999})
		c.p.failed(wamp.ErrNoSuchSubscription)
	}
}

// A publication that the broker refuses is not retained, and is not answered unless
// the publisher asked.
func TestRetainedOnlyIfPublished(t *testing.T) {
	r := start(t, Config{Anonymous: &Anonymous{Allow: []string{"publish:com.ok", "subscribe:*", "call:*"}}})
	p := join(t, r, wsJSON)
	p.send(&wamp.Publish{Request: p.request(), Topic: "com.secret", Options: retain(nil)})
	p.send(&wamp.Publish{Request: p.request(), Topic: "com.ok", Options: retain(nil)})
	p.call("test.no_such_procedure", nil)
	p.failed(wamp.ErrNoSuchProcedure)
	eventually(t, "one retained", func() bool { return r.Counters()["retained_now"] == 1 })
}

func TestRetainedIsBounded(t *testing.T) {
	r := start(t, Config{Limits: Limits{RetainedEvents: 5, RetainedBytes: 10_000}})
	p := join(t, r, wsJSON)
	for i := range 20 {
		p.publish(fmt.Sprintf("com.t%d", i), retain(nil), i)
	}
	eventually(t, "the last five are left", func() bool {
		c := r.Counters()
		return c["retained_now"] == 5 && c["retained_evicted"] == 15
	})
	p.publish("com.big", retain(nil), strings.Repeat("x", 9500))
	eventually(t, "all but two had to go", func() bool {
		c := r.Counters()
		return c["retained_now"] == 3 && c["retained_bytes_now"] <= 10_000 && c["retained_evicted"] == 18
	})
	p.publish("com.big", retain(nil), strings.Repeat("x", 20_000))
	eventually(t, "too big for the store", func() bool { return r.Counters()["retained_now"] == 2 })
}

// However publishing and subscribing interleave, a subscriber sees each publication
// at most once, and ends with the last one: nothing lies between the retained event
// and the live ones.
func TestRetainedAgainstLive(t *testing.T) {
	const events, subscribers, rounds = 400, 6, 3
	for range rounds {
		r := start(t, Config{})
		pub := join(t, r, wsJSON)
		begin := make(chan struct{})
		var wg sync.WaitGroup
		for i := range subscribers {
			p := join(t, r, transports()[i])
			wg.Go(func() {
				<-begin
				p.send(&wamp.Subscribe{Request: p.request(), Topic: "com.n", Options: wamp.Dict{"get_retained": true}})
				expect[*wamp.Subscribed](p)
				last := -1
				for last != events-1 {
					m, err := p.read()
					if err != nil {
						t.Errorf("after %d: %v", last, err)
						return
					}
					n := int(values(m)[0].(float64))
					if last >= 0 && n != last+1 {
						t.Errorf("%d after %d (%v)", n, last, m.(*wamp.Event).Details)
						return
					}
					last = n
				}
			})
		}
		for n := range events {
			if n == 20 {
				close(begin)
			}
			pub.send(&wamp.Publish{Request: pub.request(), Topic: "com.n", Options: retain(nil), Arguments: wamp.List{n}})
		}
		wg.Wait()
		pub.sync()
	}
}

func TestRetainedForLocals(t *testing.T) {
	r := newRouter(t, Config{})
	a, b := attach(t, r), attach(t, r)
	p := wire.NewPayload(wire.JSON, []byte(`[12345678901234567890]`), nil)
	send(t, a, &wamp.Publish{Request: 1, Topic: "com.a", Options: retain(nil), Arguments: wire.Opaque(p)})
	send(t, a, &wamp.Publish{Request: 2, Topic: "com.b", Options: retain(nil), Arguments: wamp.List{1, "x"}})
	send(t, b, &wamp.Subscribe{Request: 1, Topic: "com.", Options: getRetained("prefix")})
	if _, ok := receive(t, b).(*wamp.Subscribed); !ok {
		t.Fatal("not subscribed")
	}
	ev, ok := receive(t, b).(*wamp.Event)
	if !ok || ev.Details["retained"] != true {
		t.Fatalf("%+v", ev)
	}
	if args, err := wire.PayloadOf(ev).Args(wire.JSON); err != nil || string(args) != `[12345678901234567890]` {
		t.Errorf("%s %v", args, err)
	}
	wantArgs(t, receive(t, b), 1, "x")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}
