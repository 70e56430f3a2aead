package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

var (
	wsJSON    = transport{ser: wire.JSON}
	wsMsgPack = transport{ser: wire.MsgPack}
	wsCBOR    = transport{ser: wire.CBOR}
	rsJSON    = transport{raw: true, ser: wire.JSON}
	rsCBOR    = transport{raw: true, ser: wire.CBOR}
)

// nexus shares one details map among the remote subscribers of an event while it
// still writes to it (gammazero/nexus#343): fatal. IsLocal makes it copy.
func TestTrapSharedDetailsMap(t *testing.T) {
	const subscribers, publishers, events = 12, 3, 300
	r := start(t, Config{})
	var wg sync.WaitGroup
	for i := range subscribers {
		p := join(t, r, transports()[i%6])
		if i%2 == 0 {
			p.subscribe("com.topic", nil)
		} else {
			p.subscribe("com.", wamp.Dict{"match": "prefix"})
		}
		wg.Go(func() {
			for n := 0; n < publishers*events; {
				m, err := p.read()
				if err != nil {
					t.Errorf("subscriber %d after %d events: %v", i, n, err)
					return
				}
				ev, ok := m.(*wamp.Event)
				if !ok {
					continue
				}
				n++
				if ev.Details["publisher"] == nil || (ev.Details["topic"] != nil) != (i%2 == 1) {
					t.Errorf("subscriber %d: details %v", i, ev.Details)
				}
			}
		})
	}
	for range publishers {
		p := join(t, r, wsJSON)
		wg.Go(func() {
			for range events {
				p.send(&wamp.Publish{Request: p.request(), Topic: "com.topic", Options: wamp.Dict{"disclose_me": true}})
			}
		})
	}
	wg.Wait()
}

// A ppt_serializer that is no string makes nexus panic (router/helpers.go); ppt
// options in a YIELD do as well.
func TestTrapPassthruOfWrongType(t *testing.T) {
	r := start(t, Config{})
	callee := join(t, r, wsJSON)
	callee.register("com.proc", nil)
	for name, text := range map[string]string{
		"PUBLISH": `[16,1,{"ppt_scheme":"wamp","ppt_serializer":1,"acknowledge":true},"com.topic",["x"]]`,
		"CALL":    `[48,1,{"ppt_scheme":"wamp","ppt_serializer":1},"com.proc",["x"]]`,
		"YIELD":   `[70,1,{"ppt_scheme":"wamp","ppt_cipher":{}},["x"]]`,
		"ERROR":   `[8,68,1,{"ppt_scheme":"wamp","ppt_keyid":[]},"com.error"]`,
	} {
		for _, tr := range transports() {
			t.Run(name+" "+tr.String(), func(t *testing.T) {
				p := dial(t, r, tr)
				h := hello("realm1", nil)
				for _, role := range h.Details["roles"].(wamp.Dict) {
					role.(wamp.Dict)["features"].(wamp.Dict)["payload_passthru_mode"] = true
				}
				w := p.enter(h)
				for role, d := range w.Details["roles"].(wamp.Dict) {
					if d.(wamp.Dict)["features"].(wamp.Dict)["payload_passthru_mode"] != nil {
						t.Errorf("%s announces payload passthru", role)
					}
				}
				p.text("%s", text)
				p.aborted(wamp.ErrProtocolViolation, name)
				callee.sync()
			})
		}
	}
}

// progress on a CALL without having announced it makes nexus close the peer twice,
// which panics on RawSocket.
func TestTrapUnannouncedProgress(t *testing.T) {
	r := start(t, Config{})
	callee := join(t, r, wsJSON)
	callee.register("com.proc", nil)
	for _, tr := range transports() {
		p := dial(t, r, tr)
		p.enter(&wamp.Hello{Realm: "realm1", Details: wamp.Dict{"roles": wamp.Dict{"caller": wamp.Dict{}}}})
		p.text(`[48,1,{"progress":true},"com.proc"]`)
		p.aborted(wamp.ErrProtocolViolation, "progressive_call_invocations")
	}
	callee.sync()
}

// nexus ignores what it cannot decode, and its caller waits for ever.
func TestTrapUndecodableMessage(t *testing.T) {
	r := start(t, Config{})
	for _, tr := range transports() {
		p := join(t, r, tr)
		if err := p.write([]byte(`[48, 1, {}, 7]`)); err != nil {
			t.Fatal(err)
		}
		p.aborted(wamp.ErrProtocolViolation, "undecodable message: read "+tr.ser.String())
	}
	p := join(t, r, wsJSON)
	p.text(`[48, 1, {}, 7]`)
	p.aborted(wamp.ErrProtocolViolation, "CALL.Procedure (element 3)")
}

// nexus drops what does not fit into queues of 64.
func TestTrapBurst(t *testing.T) {
	burst(t, start(t, Config{}), 50_000, 5, "")
}

// A publisher that is faster than the network is held back: its events would not fit
// into anybody's queue.
func TestTrapBurstBeyondQueues(t *testing.T) {
	burst(t, start(t, Config{Limits: Limits{QueueMessages: 2048}}), 10_000, 3, strings.Repeat("x", 8<<10))
}

// burst publishes events as fast as it can; all subscribers must get all of them.
func burst(t *testing.T, r *Router, events, subscribers int, fill string) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range subscribers {
		p := join(t, r, []transport{wsJSON, rsJSON}[i%2])
		p.subscribe("com.burst", nil)
		wg.Go(func() {
			for n := range events {
				b, err := p.readFrame()
				if err != nil {
					t.Errorf("subscriber %d after %d events: %v", i, n, err)
					return
				}
				if !bytes.Contains(b[:min(len(b), 200)], fmt.Appendf(nil, "[%d,", n)) {
					t.Errorf("subscriber %d: event %.200s, want %d", i, b, n)
					return
				}
			}
		})
	}
	pub := attach(t, r)
	for n := range events {
		args := append(fmt.Appendf(make([]byte, 0, len(fill)+16), "[%d,\"", n), fill...)
		p := wire.NewPayload(wire.JSON, append(args, `"]`...), nil)
		send(t, pub, &wamp.Publish{Request: wamp.ID(n + 1), Topic: "com.burst", Arguments: wire.Opaque(p)})
	}
	wg.Wait()
	if n := r.Counters()["slow_subscribers_disconnected"]; n != 0 {
		t.Errorf("%d healthy subscribers disconnected", n)
	}
}

// One subscriber stops reading. It is disconnected and counted; the others miss
// nothing, although the burst is many times what a queue holds.
func TestTrapSubscriberStopsReading(t *testing.T) {
	const events, healthy = 20_000, 8
	for _, tr := range []transport{wsJSON, rsJSON} {
		t.Run(tr.String(), func(t *testing.T) {
			r := start(t, Config{Limits: Limits{QueueMessages: 4096, WriteTimeout: Duration(time.Minute)}})
			stuck := join(t, r, tr)
			stuck.subscribe("com.burst", nil)
			var wg sync.WaitGroup
			for i := range healthy {
				p := join(t, r, []transport{wsJSON, rsJSON}[i%2])
				p.subscribe("com.burst", nil)
				wg.Go(func() {
					for n := range events {
						b, err := p.readFrame()
						if err != nil {
							t.Errorf("subscriber %d after %d events: %v", i, n, err)
							return
						}
						if !bytes.Contains(b, fmt.Appendf(nil, "[%d,", n)) {
							t.Errorf("subscriber %d: event %s, want %d", i, b, n)
							return
						}
					}
				})
			}
			pub := attach(t, r)
			fill := strings.Repeat("x", 1000)
			for n := range events {
				p := wire.NewPayload(wire.JSON, fmt.Appendf(nil, "[%d,%q]", n, fill), nil)
				send(t, pub, &wamp.Publish{Request: wamp.ID(n + 1), Topic: "com.burst", Arguments: wire.Opaque(p)})
			}
			wg.Wait()
			eventually(t, "the stuck subscriber is disconnected", func() bool {
				return r.Counters()["slow_subscribers_disconnected"] == 1
			})
			if n := r.Counters()["sessions_now"]; n != healthy+1 {
				t.Errorf("%d sessions, want %d", n, healthy+1)
			}
		})
	}
}

// A write that does not end within the write timeout ends the session, without any
// overflow.
func TestTrapWriteTimeout(t *testing.T) {
	r := start(t, Config{Limits: Limits{WriteTimeout: Duration(50 * time.Millisecond)}})
	stuck := join(t, r, wsJSON)
	stuck.subscribe("com.topic", nil)
	pub := join(t, r, wsJSON)
	big := make([]byte, 1<<20)
	for range 16 { // more than the system's buffers hold
		pub.publish("com.topic", nil, big)
	}
	eventually(t, "disconnected", func() bool { return r.Counters()["slow_subscribers_disconnected"] == 1 })
	pub.sync()
}

// In nexus a caller that does not read blocks its callee's whole session for up to
// 65 seconds.
func TestTrapSlowCaller(t *testing.T) {
	r := start(t, Config{Limits: Limits{WriteTimeout: Duration(time.Minute)}})
	callee, slow, other := join(t, r, wsJSON), join(t, r, wsJSON), join(t, r, rsCBOR)
	callee.register("com.proc", nil)
	big := make([]byte, 1<<19)
	const calls = 40 // 20 MB of results, which slow never reads
	for range calls {
		slow.call("com.proc", nil)
	}
	for range calls {
		inv := expect[*wamp.Invocation](callee)
		callee.send(&wamp.Yield{Request: inv.Request, Arguments: wamp.List{big}})
	}
	other.call("com.proc", nil)
	inv := expect[*wamp.Invocation](callee)
	callee.send(&wamp.Yield{Request: inv.Request, Arguments: wamp.List{"quick"}})
	wantArgs(t, expect[*wamp.Result](other), "quick")
}

// Calls in flight when the router closes are answered, for remote and local callers
// alike, before GOODBYE.
func TestTrapCallsInFlightAtClose(t *testing.T) {
	r := start(t, Config{})
	callee := join(t, r, wsJSON)
	callee.register("com.never", nil)
	var callers []*peer
	for _, tr := range transports() {
		p := join(t, r, tr)
		p.call("com.never", nil)
		p.call("com.never", wamp.Dict{"timeout": 60_000})
		callers = append(callers, p)
	}
	local := attach(t, r)
	send(t, local, &wamp.Call{Request: 1, Procedure: "com.never"})
	for range 2*len(callers) + 1 {
		expect[*wamp.Invocation](callee)
	}
	closed := make(chan error)
	go func() { closed <- r.Close(context.Background()) }()
	for _, p := range callers {
		for range 2 {
			p.failed(wamp.ErrCanceled)
		}
		if g := expect[*wamp.Goodbye](p); g.Reason != wamp.ErrSystemShutdown {
			t.Errorf("GOODBYE %s", g.Reason)
		}
		if last := p.ended(); last != nil {
			t.Errorf("%v after GOODBYE", last.MessageType())
		}
		p.close()
	}
	if g, ok := callee.ended().(*wamp.Goodbye); !ok || g.Reason != wamp.ErrSystemShutdown {
		t.Error("the callee got no GOODBYE")
	}
	callee.close()
	if e, ok := receive(t, local).(*wamp.Error); !ok || e.Error != wamp.ErrCanceled {
		t.Error("the local caller got no ERROR")
	}
	if _, ok := receive(t, local).(*wamp.Goodbye); !ok {
		t.Error("the local caller got no GOODBYE")
	}
	if _, err := local.Receive(context.Background()); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if n := r.Counters()["calls_canceled"]; n != int64(2*len(callers)+1) {
		t.Errorf("%d calls canceled", n)
	}
}

// Closing nexus under traffic sends on closed channels, and so do its call timers
// after their realm is gone. Ours are closed in order.
func TestTrapCloseUnderTraffic(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		r := start(t, Config{Realms: []Realm{"realm1", "realm2"}})
		var wg sync.WaitGroup
		var busy atomic.Int64
		traffic := make(chan struct{})
		for i := range 12 {
			p, err := connect(r, transports()[i%6], nil)
			if err != nil {
				t.Fatal(err)
			}
			p.t = t
			realm := fmt.Sprintf("realm%d", 1+i%2)
			p.enter(hello(realm, nil))
			frame := func(m wamp.Message) []byte {
				b, err := wire.Append(nil, p.tr.ser, m)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			p.register(fmt.Sprintf("com.proc%d", i), nil)
			p.subscribe("com.", wamp.Dict{"match": "prefix"})
			wg.Go(func() {
				<-traffic
				for id := wamp.ID(10); ; id++ {
					busy.Add(1)
					var m wamp.Message
					switch rand.IntN(4) {
					case 0:
						m = &wamp.Publish{Request: id, Topic: "com.topic", Options: wamp.Dict{"acknowledge": true, "retain": true}}
					case 1:
						m = &wamp.Call{Request: id, Procedure: wamp.URI(fmt.Sprintf("com.proc%d", rand.IntN(12))), Options: wamp.Dict{"timeout": 1 + rand.IntN(50)}}
					case 2:
						m = &wamp.Subscribe{Request: id, Topic: wamp.URI(fmt.Sprintf("com.t%d", id)), Options: wamp.Dict{"get_retained": true}}
					case 3:
						m = &wamp.Publish{Request: id, Topic: "com.topic"}
					}
					if p.write(frame(m)) != nil {
						return
					}
				}
			})
			wg.Go(func() {
				defer p.close()
				for {
					m, err := p.read()
					if err != nil {
						return
					}
					if inv, ok := m.(*wamp.Invocation); ok && inv.Request%2 == 0 {
						if p.write(frame(&wamp.Yield{Request: inv.Request})) != nil {
							return
						}
					}
				}
			})
		}
		close(traffic)
		eventually(t, "traffic", func() bool { return busy.Load() > 200 })
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if round%4 == 3 {
			cancel() // cut everybody off at once
		}
		err := r.Close(ctx)
		if round%4 != 3 && err != nil {
			t.Fatal(err)
		}
		cancel()
		wg.Wait()
	}
}

// A call with a timeout leaves nothing behind that could reach a closed realm: nexus
// starts a timer for each part of a progressive call and stops the last one only.
func TestTrapCallTimerOutlivesRealm(t *testing.T) {
	r := start(t, Config{Realms: []Realm{"realm1", "realm2"}})
	callee, caller := dial(t, r, wsJSON), join(t, r, wsJSON)
	callee.enter(&wamp.Hello{Realm: "realm1", Details: wamp.Dict{"roles": wamp.Dict{"callee": wamp.Dict{"features": wamp.Dict{
		"progressive_call_invocations": true, "call_canceling": true,
	}}}}})
	callee.register("com.never", nil)
	for range 5 {
		id := caller.request()
		for range 4 {
			caller.send(&wamp.Call{Request: id, Procedure: "com.never", Options: wamp.Dict{"timeout": 1000, "progress": true}})
			expect[*wamp.Invocation](callee)
		}
	}
	go func() { _ = caller.ended(); caller.close() }()
	go func() { _ = callee.ended(); callee.close() }()
	if err := r.Reconfigure(Config{Listen: "127.0.0.1:0", Realms: []Realm{"realm2"}}); err != nil {
		t.Fatal(err)
	}
	other, sub := dial(t, r, wsJSON), dial(t, r, wsJSON)
	other.enter(hello("realm2", nil))
	sub.enter(hello("realm2", nil))
	sub.register("com.never", nil)
	// When this one has timed out, a timer of nexus' would have panicked.
	other.call("com.never", wamp.Dict{"timeout": 1500})
	other.failed(wamp.ErrTimeout)
}

// nexus enters a session twice that registers a shared procedure twice, removes it
// once, and then calls a session that is gone.
func TestTrapDoubleRegistration(t *testing.T) {
	r := start(t, Config{})
	callee, caller := join(t, r, wsJSON), join(t, r, wsJSON)
	callee.register("com.shared", wamp.Dict{"invoke": "roundrobin"})
	callee.send(&wamp.Register{Request: callee.request(), Procedure: "com.shared", Options: wamp.Dict{"invoke": "roundrobin"}})
	callee.failed(wamp.ErrProcedureAlreadyExists)
	callee.close()
	eventually(t, "callee gone", func() bool { return r.Counters()["sessions_now"] == 1 })
	caller.call("com.shared", nil)
	caller.failed(wamp.ErrNoSuchProcedure)
}

// A second CALL with the id of one in flight reaches, in nexus, the callee of the
// first under the registration of the second.
func TestTrapCallIDReused(t *testing.T) {
	r := start(t, Config{})
	callee, caller := join(t, r, wsJSON), join(t, r, wsJSON)
	callee.register("com.a", nil)
	callee.register("com.b", nil)
	caller.text(`[48,1,{},"com.a"]`)
	expect[*wamp.Invocation](callee)
	caller.text(`[48,1,{},"com.b"]`)
	caller.aborted(wamp.ErrProtocolViolation, "in flight")
	callee.sync()
}

func attach(t testing.TB, r *Router) *Local {
	t.Helper()
	l, err := r.Attach("realm1", nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func send(t testing.TB, l *Local, m wamp.Message) {
	t.Helper()
	if err := l.Send(context.Background(), m); err != nil {
		t.Fatal(err)
	}
}

// receive returns one message that waits for a Local. What comes with it is kept.
func receive(t testing.TB, l *Local) wamp.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l.s.box.mu.Lock()
	defer l.s.box.mu.Unlock()
	for {
		l.s.box.drain()
		if len(l.s.box.items) > 0 {
			m := l.s.box.items[0].msg
			l.s.box.items = l.s.box.items[1:]
			return m
		}
		if ctx.Err() != nil || l.s.box.ended {
			t.Fatal("no message")
		}
		l.s.box.step(ctx.Done())
	}
}
