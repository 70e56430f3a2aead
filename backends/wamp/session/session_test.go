package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/wamp/session"
	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
)

// patience is how long tests wait for what must happen.
const patience = 2 * time.Minute

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func dialer(t testing.TB, text string, s ...wire.Serialization) *session.Dialer {
	t.Helper()
	u, err := session.ParseURL(text)
	if err != nil {
		t.Fatal(err)
	}
	return &session.Dialer{URL: u, Serializations: s}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open joins realm1 over the WebSocket.
func open(t testing.TB, n *nexus, change ...func(*session.Options)) *session.Session {
	t.Helper()
	o := session.Options{
		Target:     session.Target{Connect: dialer(t, "ws://"+n.Web+"/").Connect, Realm: "realm1"},
		Log:        quiet(),
		FirstDelay: 20 * time.Millisecond, LastDelay: 200 * time.Millisecond,
	}
	for _, f := range change {
		f(&o)
	}
	s := session.New(o)
	t.Cleanup(func() { _ = s.Close(within(t)) })
	if err := s.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

func address(name string) core.Address { return core.Address{Backend: "wamp", Name: name} }

func exact(name string) core.Pattern { return core.Pattern{Address: address(name), Match: core.Exact} }

func args(text string) core.Payload { return core.Payload{Args: json.RawMessage(text)} }

func subscribe(t testing.TB, s *session.Session, p core.Pattern) core.Stream[*core.Event] {
	t.Helper()
	stream, err := s.Subscribe(within(t), p)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// serve registers a procedure and answers its invocations with f until the stream
// ends; f runs in a goroutine per invocation.
func serve(t testing.TB, s *session.Session, p core.Pattern, o core.RegisterOptions, f func(*core.Invocation)) core.Stream[*core.Invocation] {
	t.Helper()
	stream, err := s.Register(within(t), p, o)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			batch, err := stream.Next(context.Background())
			if err != nil {
				return
			}
			for _, inv := range batch {
				wg.Go(func() { f(inv) })
			}
		}
	})
	t.Cleanup(func() {
		_ = stream.Close()
		wg.Wait()
	})
	return stream
}

func echo(inv *core.Invocation) { inv.Reply(&core.Result{Payload: inv.Payload}, nil) }

// take reads n events.
func take(t testing.TB, stream core.Stream[*core.Event], n int) []*core.Event {
	t.Helper()
	ctx := within(t)
	var all []*core.Event
	for len(all) < n {
		batch, err := stream.Next(ctx)
		if err != nil {
			t.Fatalf("after %d of %d events: %v", len(all), n, err)
		}
		all = append(all, batch...)
	}
	return all
}

// before reads events until one has that id, and returns the ids of those before it.
func before(t testing.TB, stream core.Stream[*core.Event], id string) (ids []string) {
	t.Helper()
	for {
		for _, e := range take(t, stream, 1) {
			if e.ID == id {
				return ids
			}
			ids = append(ids, e.ID)
		}
	}
}

func publish(t testing.TB, s *session.Session, topic, args string) string {
	t.Helper()
	e := &core.Event{Topic: address(topic), Payload: core.Payload{Args: json.RawMessage(args)}}
	if err := s.Publish(within(t), e); err != nil {
		t.Fatal(err)
	}
	return e.ID
}

func wantCode(t testing.TB, err error, code core.Code) *core.Error {
	t.Helper()
	if core.CodeOf(err) != code {
		t.Fatalf("error %v has code %q, want %q", err, core.CodeOf(err), code)
	}
	return core.AsError(err)
}

// eventually waits for what another goroutine is about to do.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// TestTransports goes once around with each transport and serialisation.
func TestTransports(t *testing.T) {
	n := startNexus(t)
	peer := open(t, n)
	for _, base := range []string{"ws://" + n.Web + "/", "rs://" + n.Raw} {
		for _, s := range []wire.Serialization{wire.JSON, wire.MsgPack, wire.CBOR} {
			t.Run(strings.SplitN(base, ":", 2)[0]+" "+s.String(), func(t *testing.T) {
				d := dialer(t, base, s)
				ses := open(t, n, func(o *session.Options) { o.Connect = d.Connect })
				name := "com.test." + s.String()
				for from, to := range map[*session.Session]*session.Session{ses: peer, peer: ses} {
					events := subscribe(t, to, exact(name))
					id := publish(t, from, name, `[1,"zwei",{"drei":[]}]`)
					e := take(t, events, 1)[0]
					if e.ID != id || string(e.Args) != `[1,"zwei",{"drei":[]}]` || e.Topic != address(name) {
						t.Fatalf("event %+v of publication %s", e, id)
					}
					if err := events.Close(); err != nil {
						t.Fatal(err)
					}
				}
				serve(t, ses, exact(name), core.RegisterOptions{}, echo)
				r, err := ses.Call(within(t), &core.Call{Procedure: address(name), Payload: core.Payload{
					Args: json.RawMessage(`[null,true,-7,1.5,"\u2028"]`), Kwargs: json.RawMessage(`{"k":{"a":[]}}`),
				}})
				if err != nil {
					t.Fatal(err)
				}
				var list []any
				if err := json.Unmarshal(r.Args, &list); err != nil || len(list) != 5 || list[4] != "\u2028" {
					t.Fatalf("args %s", r.Args)
				}
				if string(r.Kwargs) != `{"k":{"a":[]}}` {
					t.Fatalf("kwargs %s", r.Kwargs)
				}
			})
		}
	}
}

func TestAuthentication(t *testing.T) {
	n := startNexus(t)
	bad := core.Secret("wrong-secret")
	for _, c := range []struct {
		name string
		auth session.Auth
		ok   bool
	}{
		{"ticket", session.Auth{Method: "ticket", AuthID: "joe", Ticket: core.Secret(joeTicket)}, true},
		{"wrong ticket", session.Auth{Method: "ticket", AuthID: "joe", Ticket: bad}, false},
		{"wampcra", session.Auth{Method: "wampcra", AuthID: "joe", Secret: core.Secret(joeSecret)}, true},
		{"salted wampcra", session.Auth{Method: "wampcra", AuthID: "salty", Secret: core.Secret(saltSecret)}, true},
		{"wrong wampcra", session.Auth{Method: "wampcra", AuthID: "joe", Secret: bad}, false},
		{"cryptosign", session.Auth{Method: "cryptosign", AuthID: "signer", Key: signerSeed()}, true},
		{"wrong cryptosign", session.Auth{Method: "cryptosign", AuthID: "signer", Key: bytes.Repeat([]byte("x"), 32)}, false},
		{"anonymous", session.Auth{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.auth.Check(); err != nil {
				t.Fatal(err)
			}
			s := session.New(session.Options{
				Target:     session.Target{Connect: dialer(t, "ws://"+n.Web+"/").Connect, Realm: "closed", Auth: c.auth},
				Log:        quiet(),
				FirstDelay: 10 * time.Millisecond, LastDelay: 10 * time.Millisecond,
			})
			defer s.Close(within(t))
			err := s.Ready(within(t))
			if c.ok != (err == nil) {
				t.Fatal(err)
			}
			if c.ok {
				return
			}
			// nexus now and then closes the connection before its ABORT is written.
			eventually(t, "the refusal is reported", func() bool {
				st := s.Status()
				return st.State == core.Down && strings.Contains(st.Reason, "authentication failed") &&
					strings.Contains(st.Reason, "closed") && !strings.Contains(st.Reason, string(bad))
			})
			_, err = s.Call(within(t), &core.Call{Procedure: address("com.x")})
			wantCode(t, err, core.Unavailable)
		})
	}
}

func TestNoSuchRealm(t *testing.T) {
	n := startNexus(t)
	s := session.New(session.Options{
		Target: session.Target{Connect: dialer(t, "ws://"+n.Web+"/").Connect, Realm: "nowhere"}, Log: quiet(),
	})
	defer s.Close(within(t))
	if err := s.Ready(within(t)); err == nil {
		t.Fatal("joined a realm that is not there")
	}
	eventually(t, "the reason is reported", func() bool {
		st := s.Status()
		return st.State == core.Down && strings.Contains(st.Reason, `join realm "nowhere": the router has no such realm`)
	})
}

func TestPatterns(t *testing.T) {
	n := startNexus(t)
	s, peer := open(t, n), open(t, n)
	// One at a time: nexus 3.3 shares the details of an event among subscribers
	// while it still writes to them (its issue 343).
	for match, name := range map[core.Match]string{core.Prefix: "com.shop", core.Wildcard: "com..created"} {
		stream := subscribe(t, s, core.Pattern{Address: address(name), Match: match})
		id := publish(t, peer, "com.shop.created", `[1]`)
		e := take(t, stream, 1)[0]
		if e.ID != id || e.Topic.Name != "com.shop.created" || string(e.Args) != `[1]` {
			t.Fatalf("event %+v", e)
		}
		var details map[string]any
		if err := json.Unmarshal(e.Details, &details); err != nil || details["topic"] != "com.shop.created" {
			t.Fatalf("details %s", e.Details)
		}
		if err := stream.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for match, name := range map[core.Match]string{core.Prefix: "com.calc", core.Wildcard: "org..add"} {
		serve(t, s, core.Pattern{Address: address(name), Match: match}, core.RegisterOptions{}, func(inv *core.Invocation) {
			name, _ := json.Marshal([]string{inv.Procedure.Name})
			inv.Reply(&core.Result{Payload: core.Payload{Args: name}}, nil)
		})
	}
	for _, name := range []string{"com.calc.add", "org.calc.add"} {
		r, err := s.Call(within(t), &core.Call{Procedure: address(name)})
		if err != nil || string(r.Args) != `["`+name+`"]` {
			t.Fatalf("call %s: %v %v", name, r, err)
		}
	}
}

func TestInvocationPolicies(t *testing.T) {
	n := startNexus(t)
	first, second := open(t, n), open(t, n)
	for _, policy := range []string{"first", "last", "roundrobin", "random"} {
		t.Run(policy, func(t *testing.T) {
			name := "com.shared." + policy
			for i, s := range []*session.Session{first, second} {
				who := args("[" + strconv.Itoa(i) + "]")
				serve(t, s, exact(name), core.RegisterOptions{Invoke: policy}, func(inv *core.Invocation) {
					inv.Reply(&core.Result{Payload: who}, nil)
				})
			}
			seen := map[string]int{}
			for range 20 {
				r, err := first.Call(within(t), &core.Call{Procedure: address(name)})
				if err != nil {
					t.Fatal(err)
				}
				seen[string(r.Args)]++
			}
			switch {
			case policy == "first" && seen["[0]"] != 20, policy == "last" && seen["[1]"] != 20,
				policy == "roundrobin" && seen["[0]"] != 10:
				t.Fatalf("calls went to %v", seen)
			}
		})
	}
	serve(t, first, exact("com.single"), core.RegisterOptions{}, echo)
	_, err := second.Register(within(t), exact("com.single"), core.RegisterOptions{})
	e := wantCode(t, err, core.AlreadyExists)
	if e.URI != "wamp.error.procedure_already_exists" {
		t.Fatalf("error %v", e)
	}
}

func TestErrors(t *testing.T) {
	n := startNexus(t)
	s := open(t, n)
	raise := map[string]error{}
	serve(t, s, core.Pattern{Address: address("com.fail."), Match: core.Prefix}, core.RegisterOptions{}, func(inv *core.Invocation) {
		inv.Reply(nil, raise[inv.Procedure.Name])
	})
	timeout := core.Errorf(core.Timeout, "the app took too long")
	raise["com.fail.app"] = &core.Error{Code: core.Application, URI: "com.shop.sold_out", Payload: core.Payload{
		Args: json.RawMessage(`["gone",9007199254740993]`), Kwargs: json.RawMessage(`{"left":0}`),
	}}
	raise["com.fail.callback"] = core.Errorf(core.CallbackFailed, "the app answered 500")
	raise["com.fail.timeout"] = timeout
	raise["com.fail.many"] = core.Errorf(core.TooMany, "busy")
	raise["com.fail.gone"] = core.Errorf(core.NoSuchProcedure, "unknown here")
	raise["com.fail.uri"] = &core.Error{Code: core.Application, URI: "not a # uri", Message: "oh"}
	raise["com.fail.plain"] = errors.New("bug")
	for name, want := range map[string]core.Error{
		"com.fail.app":      {Code: core.Application, URI: "com.shop.sold_out", Payload: core.Payload{Args: json.RawMessage(`["gone",9007199254740993]`), Kwargs: json.RawMessage(`{"left":0}`)}},
		"com.fail.callback": {Code: core.CallbackFailed, URI: "anybridge.error.callback_failed", Message: "the app answered 500"},
		"com.fail.timeout":  {Code: core.Timeout, URI: "wamp.error.timeout", Message: "the app took too long"},
		"com.fail.many":     {Code: core.TooMany, URI: "anybridge.error.too_many_requests", Message: "busy"},
		"com.fail.gone":     {Code: core.NoSuchProcedure, URI: "wamp.error.no_such_procedure", Message: "unknown here"},
		"com.fail.uri":      {Code: core.Application, URI: "anybridge.error.application_error", Message: "oh"},
		"com.fail.plain":    {Code: core.Internal, URI: "anybridge.error.internal", Message: "bug"},
		"com.nobody":        {Code: core.NoSuchProcedure, URI: "wamp.error.no_such_procedure"},
	} {
		_, err := s.Call(within(t), &core.Call{Procedure: address(name)})
		e := wantCode(t, err, want.Code)
		if e.URI != want.URI || want.Message != "" && e.Message != want.Message {
			t.Errorf("%s: %#v", name, e)
		}
		if want.Args != nil && (string(e.Args) != string(want.Args) || string(e.Kwargs) != string(want.Kwargs)) {
			t.Errorf("%s: args %s kwargs %s", name, e.Args, e.Kwargs)
		}
	}
}

func TestNames(t *testing.T) {
	n := startNexus(t)
	s := open(t, n)
	for name, says := range map[string]string{
		"com..x":    "component 2 of 3 is empty",
		"com.x.":    "component 3 of 3 is empty",
		"com.a b.x": `component 2 ("a b") has white space`,
		"com.x#":    `component 2 ("x#") has a #`,
	} {
		e := wantCode(t, s.Publish(within(t), &core.Event{Topic: address(name)}), core.InvalidArgument)
		if !strings.Contains(e.Message, says) {
			t.Errorf("%s: %q", name, e.Message)
		}
		_, err := s.Call(within(t), &core.Call{Procedure: address(name)})
		wantCode(t, err, core.InvalidArgument)
	}
	_, err := s.Subscribe(within(t), core.Pattern{Address: address("com..x"), Match: core.Prefix})
	wantCode(t, err, core.InvalidArgument)
	subscribe(t, s, core.Pattern{Address: address("com.x."), Match: core.Prefix})
}

func TestCancel(t *testing.T) {
	n := startNexus(t)
	caller, callee := open(t, n), open(t, n)
	canceled := make(chan struct{}, 1)
	serve(t, callee, exact("com.slow"), core.RegisterOptions{}, func(inv *core.Invocation) {
		<-inv.Canceled
		canceled <- struct{}{}
		inv.Reply(&core.Result{}, nil) // ignored
	})
	ctx, cancel := context.WithCancel(within(t))
	calling := make(chan error, 1)
	go func() {
		_, err := caller.Call(ctx, &core.Call{Procedure: address("com.slow")})
		calling <- err
	}()
	eventually(t, "the call arrives", func() bool { return callee.Status().Counters["invocations_now"] == 1 })
	cancel()
	wantCode(t, <-calling, core.Canceled)
	<-canceled

	ctx, cancel = context.WithTimeout(within(t), 50*time.Millisecond)
	defer cancel()
	_, err := caller.Call(ctx, &core.Call{Procedure: address("com.slow")})
	wantCode(t, err, core.Timeout)
	<-canceled
	eventually(t, "nothing is pending", func() bool {
		return callee.Status().Counters["invocations_now"] == 0 && caller.Status().Counters["requests_now"] == 0
	})
}

// TestTimeoutTravels shows that the callee learns how long the caller waits.
func TestTimeoutTravels(t *testing.T) {
	n := startNexus(t)
	s := open(t, n)
	timeout := make(chan time.Duration, 1)
	serve(t, s, exact("com.timed"), core.RegisterOptions{}, func(inv *core.Invocation) {
		timeout <- inv.Timeout
		echo(inv)
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := s.Call(ctx, &core.Call{Procedure: address("com.timed")}); err != nil {
		t.Fatal(err)
	}
	if got := <-timeout; got > time.Minute || got < time.Minute/2 {
		t.Fatalf("timeout %v", got)
	}
}

func TestCalleeGone(t *testing.T) {
	n := startNexus(t)
	caller, callee := open(t, n), open(t, n)
	arrived := make(chan struct{})
	stream, err := callee.Register(within(t), exact("com.leaving"), core.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = stream.Next(within(t))
		close(arrived)
	}()
	calling := make(chan error, 1)
	go func() {
		_, err := caller.Call(within(t), &core.Call{Procedure: address("com.leaving")})
		calling <- err
	}()
	<-arrived
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_ = callee.Close(ctx) // the invocation is never answered by its consumer
	wantCode(t, <-calling, core.Unavailable)
}

func TestDetails(t *testing.T) {
	n := startNexus(t)
	s := open(t, n)
	details := make(chan json.RawMessage, 1)
	serve(t, s, core.Pattern{Address: address("com.who"), Match: core.Prefix}, core.RegisterOptions{}, func(inv *core.Invocation) {
		details <- inv.Details
		echo(inv)
	})
	if _, err := s.Call(within(t), &core.Call{Procedure: address("com.who.am_i")}); err != nil {
		t.Fatal(err)
	}
	var d struct {
		Caller    uint64 `json:"caller"`
		Procedure string `json:"procedure"`
	}
	if text := <-details; json.Unmarshal(text, &d) != nil || d.Caller == 0 || d.Procedure != "com.who.am_i" {
		t.Fatalf("details %s", text)
	}
	// A router that does not disclose callers gets the registration without.
	discreet := open(t, n, func(o *session.Options) { o.Realm = "discreet" })
	serve(t, discreet, exact("com.who"), core.RegisterOptions{}, echo)
	if _, err := discreet.Call(within(t), &core.Call{Procedure: address("com.who")}); err != nil {
		t.Fatal(err)
	}
}

// TestEarlyEvents subscribes while somebody publishes all the time: from the first
// event on, none is missing.
func TestEarlyEvents(t *testing.T) {
	n := startNexus(t)
	publisher, s := open(t, n), open(t, n)
	ctx, cancel := context.WithCancel(context.Background())
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_ = publisher.Publish(context.Background(), &core.Event{Topic: address("com.early"), Payload: args("[" + strconv.Itoa(i) + "]")})
		}
	})
	for range 20 {
		stream := subscribe(t, s, exact("com.early"))
		last := -1
		for _, e := range take(t, stream, 20) {
			var n [1]int
			if err := json.Unmarshal(e.Args, &n); err != nil || last >= 0 && n[0] != last+1 {
				t.Errorf("event %s after %d", e.Args, last)
			}
			last = n[0]
		}
		if err := stream.Close(); err != nil {
			t.Error(err)
		}
	}
	cancel()
	publishing.Wait()
}

func TestManyCalls(t *testing.T) {
	n := startNexus(t)
	s := open(t, n)
	serve(t, s, exact("com.echo"), core.RegisterOptions{}, echo)
	var wg sync.WaitGroup
	for i := range 10_000 {
		wg.Go(func() {
			want := fmt.Sprintf("[%d]", i)
			r, err := s.Call(within(t), &core.Call{Procedure: address("com.echo"), Payload: args(want)})
			if err != nil || string(r.Args) != want {
				t.Errorf("call %d: %v %v", i, r, err)
			}
		})
	}
	wg.Wait()
}

func TestSlowConsumer(t *testing.T) {
	n := startNexus(t)
	s, peer := open(t, n, func(o *session.Options) { o.MaxEvents = 10 }), open(t, n)
	slow, fast := subscribe(t, s, exact("com.burst")), subscribe(t, s, exact("com.other"))
	for range 50 {
		publish(t, peer, "com.burst", `[]`)
	}
	publish(t, peer, "com.other", `[]`)
	take(t, fast, 1)
	eventually(t, "events are dropped", func() bool { return s.Status().Counters["events_dropped"] == 40 })
	if got := len(take(t, slow, 10)); got != 10 {
		t.Fatalf("%d events left", got)
	}
}

// TestRouterDies kills the router under load and brings it back: every call ends,
// and everything is restored.
func TestRouterDies(t *testing.T) {
	for _, transport := range []string{"ws", "rs"} {
		t.Run(transport, func(t *testing.T) {
			n := startNexus(t)
			connect := func(o *session.Options) {
				if transport == "rs" {
					o.Connect = dialer(t, "rs://"+n.Raw).Connect
				}
			}
			s := open(t, n, connect)
			events := subscribe(t, s, core.Pattern{Address: address("com.event"), Match: core.Prefix})
			serve(t, s, exact("com.echo"), core.RegisterOptions{Invoke: "roundrobin"}, echo)
			ctx, cancel := context.WithCancel(within(t))
			var load sync.WaitGroup
			var ok, failed atomic.Int64
			for range 64 {
				load.Go(func() {
					for ctx.Err() == nil {
						_, err := s.Call(context.Background(), &core.Call{Procedure: address("com.echo"), Payload: args(`[1]`)})
						switch core.CodeOf(err) {
						case "":
							ok.Add(1)
						case core.Unavailable, core.NoSuchProcedure: // the latter before the registration is restored
							failed.Add(1)
							time.Sleep(time.Millisecond) // as the one who reads RetryAfter would
						default:
							t.Errorf("call: %v", err)
							return
						}
					}
				})
			}
			for range 2 {
				before := ok.Load()
				eventually(t, "calls work", func() bool { return ok.Load() > before+100 })
				n.kill()
				lost := failed.Load()
				eventually(t, "calls fail", func() bool { return failed.Load() > lost })
				if st := s.Status(); st.State == core.Connecting && st.Reason == "" {
					t.Errorf("status %+v", st)
				}
				n.start()
			}
			before := ok.Load()
			eventually(t, "calls work again", func() bool { return ok.Load() > before+100 })
			cancel()
			load.Wait()
			eventually(t, "all is restored", func() bool {
				st := s.Status()
				return st.State == core.Up && st.Reason == "" && st.Counters["bindings_missing_now"] == 0
			})
			publish(t, open(t, n), "com.event.back", `["back"]`)
			came := take(t, events, 3) // both outages may have cost events
			if came[0].Gap == nil || came[1].Gap == nil || came[0].Gap.Until.Before(came[0].Gap.Since) {
				t.Errorf("no gaps but %+v, %+v", came[0], came[1])
			}
			if e := came[2]; string(e.Args) != `["back"]` {
				t.Fatalf("event %s", e.Args)
			}
		})
	}
}

// TestRegistrationStillHeld reconnects to a router that still holds the procedure
// for a session that it believes alive.
func TestRegistrationStillHeld(t *testing.T) {
	n := startNexus(t)
	relay := newRelay(t, n.Web)
	s := open(t, n, func(o *session.Options) { o.Connect = dialer(t, "ws://"+relay.addr+"/").Connect })
	serve(t, s, core.Pattern{Address: address("com.held"), Match: core.Prefix}, core.RegisterOptions{}, echo)
	relay.freeze() // our side is cut off, the router's stays open
	eventually(t, "the procedure is missing", func() bool {
		st := s.Status()
		return st.State == core.Up && strings.Contains(st.Reason, "registration of com.held not restored") &&
			strings.Contains(st.Reason, "procedure_already_exists")
	})
	relay.thaw() // now the router notices
	eventually(t, "the procedure is back", func() bool { return s.Status().Reason == "" })
	if _, err := s.Call(within(t), &core.Call{Procedure: address("com.held.x")}); err != nil {
		t.Fatal(err)
	}
}

func TestDisconnected(t *testing.T) {
	u, _ := url.Parse("ws://127.0.0.1:1/")
	s := session.New(session.Options{Target: session.Target{Connect: (&session.Dialer{URL: u}).Connect, Realm: "realm1"}, Log: quiet()})
	defer s.Close(within(t))
	wantCode(t, s.Ready(within(t)), core.Unavailable)
	_, err := s.Call(within(t), &core.Call{Procedure: address("com.x")})
	if e := wantCode(t, err, core.Unavailable); e.RetryAfter <= 0 || !strings.Contains(e.Message, "127.0.0.1:1") {
		t.Fatalf("error %#v", e)
	}
	_, err = s.Subscribe(within(t), exact("com.x"))
	wantCode(t, err, core.Unavailable)
	_, err = s.Register(within(t), exact("com.x"), core.RegisterOptions{})
	wantCode(t, err, core.Unavailable)
	wantCode(t, s.Publish(within(t), &core.Event{Topic: address("com.x")}), core.Unavailable)
	if st := s.Status(); st.State != core.Connecting || st.Reason == "" {
		t.Fatalf("status %+v", st)
	}
}

// TestOwnEvents publishes from two sessions at once: each gets what the other one
// publishes, under the ids that Publish told, and nothing of its own.
func TestOwnEvents(t *testing.T) {
	n := startNexus(t)
	sessions := []*session.Session{open(t, n), open(t, n)}
	const each = 200
	for _, p := range []core.Pattern{exact("com.own"), {Address: address("com."), Match: core.Prefix}} {
		var streams []core.Stream[*core.Event]
		for _, s := range sessions {
			streams = append(streams, subscribe(t, s, p))
		}
		ids := make([][]string, len(sessions))
		var publishing sync.WaitGroup
		for i, s := range sessions {
			publishing.Go(func() {
				for range each {
					e := &core.Event{Topic: address("com.own"), Origin: "shop", ExcludeMe: true}
					if err := s.Publish(context.Background(), e); err != nil || e.Withheld {
						t.Errorf("event %+v: %v", e, err)
					}
					ids[i] = append(ids[i], e.ID)
				}
			})
		}
		publishing.Wait()
		for i, stream := range streams {
			for k, e := range take(t, stream, each) {
				if e.ID != ids[1-i][k] || e.Origin != "" || e.ExcludeMe {
					t.Fatalf("event %d is %+v, want %s", k, e, ids[1-i][k])
				}
			}
			if err := stream.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, s := range sessions {
		if got := s.Status().Counters["events_in"]; got != 2*each {
			t.Errorf("%d events arrived, want %d", got, 2*each)
		}
	}
}

// TestWithheld has a stranger's router, and a listener who is in every respect but
// the session id what the publisher is, confirm who gets an event.
func TestWithheld(t *testing.T) {
	n := startNexus(t)
	joe := func(o *session.Options) {
		o.Realm = "closed"
		o.Auth = session.Auth{Method: "ticket", AuthID: "joe", Ticket: core.Secret(joeTicket)}
	}
	s, twin := open(t, n, joe), open(t, n, joe)
	events := subscribe(t, twin, exact("com.secret"))
	for _, c := range []struct {
		options  core.PublishOptions
		withheld bool
	}{
		{core.PublishOptions{}, false},
		{core.PublishOptions{ExcludeAuthID: []string{"ann", "joe"}}, true},
		{core.PublishOptions{ExcludeAuthID: []string{"ann"}}, false},
		{core.PublishOptions{ExcludeAuthRole: []string{"user"}}, true},
		{core.PublishOptions{ExcludeAuthRole: []string{"admin"}}, false},
		{core.PublishOptions{EligibleAuthID: []string{"joe", "ann"}}, false},
		{core.PublishOptions{EligibleAuthID: []string{"ann"}}, true},
		{core.PublishOptions{EligibleAuthRole: []string{"user"}}, false},
		{core.PublishOptions{EligibleAuthRole: []string{"admin"}}, true},
		{core.PublishOptions{EligibleAuthID: []string{"joe"}, EligibleAuthRole: []string{"admin"}}, true},
		{core.PublishOptions{EligibleAuthID: []string{"joe"}, EligibleAuthRole: []string{"user"}}, false},
		{core.PublishOptions{EligibleAuthID: []string{"joe"}, ExcludeAuthRole: []string{"user"}}, true},
	} {
		e := &core.Event{Topic: address("com.secret"), Options: c.options}
		if err := s.Publish(within(t), e); err != nil {
			t.Fatal(err)
		}
		if e.Withheld != c.withheld {
			t.Errorf("%+v: withheld %v", c.options, e.Withheld)
		}
		got := before(t, events, publish(t, s, "com.secret", `["marker"]`))
		if slices.Contains(got, e.ID) == c.withheld {
			t.Errorf("%+v: withheld %v, but the twin got %v", c.options, c.withheld, got)
		}
	}
}

// TestClose answers who is in flight.
func TestClose(t *testing.T) {
	n := startNexus(t)
	s, other := open(t, n), open(t, n)
	taken := make(chan *core.Invocation, 1)
	stream, err := s.Register(within(t), exact("com.served"), core.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		batch, err := stream.Next(context.Background())
		if err == nil {
			taken <- batch[0]
		}
	}()
	served := make(chan error, 1)
	go func() {
		_, err := other.Call(within(t), &core.Call{Procedure: address("com.served")})
		served <- err
	}()
	inv := <-taken

	interrupted := make(chan struct{})
	serve(t, other, exact("com.endless"), core.RegisterOptions{}, func(inv *core.Invocation) {
		<-inv.Canceled
		close(interrupted)
	})
	calling := make(chan error, 1)
	go func() {
		_, err := s.Call(context.Background(), &core.Call{Procedure: address("com.endless")})
		calling <- err
	}()
	eventually(t, "the call arrives", func() bool { return other.Status().Counters["invocations_now"] == 1 })

	events := subscribe(t, s, exact("com.last"))
	publish(t, other, "com.last", `["last"]`)
	closed := make(chan error, 1)
	go func() { closed <- s.Close(within(t)) }()
	eventually(t, "new requests are refused", func() bool {
		return core.CodeOf(s.Publish(within(t), &core.Event{Topic: address("com.x")})) == core.Unavailable
	})
	inv.Reply(&core.Result{}, nil)
	if err := <-served; err != nil {
		t.Fatalf("the call that was being served: %v", err)
	}
	wantCode(t, <-calling, core.Unavailable)
	<-interrupted
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if e := take(t, events, 1)[0]; string(e.Args) != `["last"]` {
		t.Fatalf("event %s", e.Args)
	}
	if _, err := events.Next(within(t)); !errors.Is(err, io.EOF) {
		t.Fatalf("the stream ended with %v", err)
	}
}

// TestStreamClose answers invocations that were not taken, and frees the name.
func TestStreamClose(t *testing.T) {
	n := startNexus(t)
	s := open(t, n)
	for range 3 {
		stream, err := s.Register(within(t), exact("com.never"), core.RegisterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		calling := make(chan error, 1)
		go func() {
			_, err := s.Call(within(t), &core.Call{Procedure: address("com.never")})
			calling <- err
		}()
		eventually(t, "the call arrives", func() bool { return s.Status().Counters["invocations_now"] == 1 })
		if _, err := s.Register(within(t), exact("com.never"), core.RegisterOptions{}); core.CodeOf(err) != core.AlreadyExists {
			t.Fatalf("registered twice: %v", err)
		}
		if err := stream.Close(); err != nil {
			t.Fatal(err)
		}
		wantCode(t, <-calling, core.Unavailable)
		events := subscribe(t, s, exact("com.never"))
		if err := events.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRetarget(t *testing.T) {
	n := startNexus(t)
	s := open(t, n)
	events := subscribe(t, s, exact("com.moving"))
	serve(t, s, exact("com.moving"), core.RegisterOptions{}, echo)
	s.Retarget(session.Target{Connect: dialer(t, "rs://"+n.Raw).Connect, Realm: "realm2"})
	there := open(t, n, func(o *session.Options) { o.Realm = "realm2" })
	eventually(t, "the procedure has moved", func() bool {
		_, err := there.Call(within(t), &core.Call{Procedure: address("com.moving")})
		return err == nil
	})
	eventually(t, "all is restored", func() bool { return s.Status().Reason == "" })
	publish(t, there, "com.moving", `["there"]`)
	take(t, events, 1)
}
