package wamp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/transport/serialize"
	nexus "github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp"
	"github.com/anybridge/anybridge/backends/wamp/session"
	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
)

const (
	patience = 5 * time.Minute // a burst, with the race detector, on a busy machine
	inside   = `{"router": {"listen": "127.0.0.1:0", "realms": ["realm1", "realm2"]}}`
)

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// run opens a backend.
func run(t testing.TB, config string) (*wamp.Backend, core.Info) {
	t.Helper()
	b := wamp.New(slog.New(slog.DiscardHandler))
	info, err := b.Open(within(t), json.RawMessage(config))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(within(t)); err != nil {
			t.Error(err)
		}
	})
	return b, info
}

// join makes a client session on a router.
func join(t testing.TB, url string, s ...wire.Serialization) *session.Session {
	t.Helper()
	return joinRealm(t, url, "realm1", s...)
}

func joinRealm(t testing.TB, url, realm string, s ...wire.Serialization) *session.Session {
	t.Helper()
	u, err := session.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	d := &session.Dialer{URL: u, Serializations: s}
	ses := session.New(session.Options{
		Target: session.Target{Connect: d.Connect, Realm: realm}, Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(func() { _ = ses.Close(within(t)) })
	if err := ses.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	return ses
}

func address(name string) core.Address { return core.Address{Backend: "wamp", Name: name} }

func exact(name string) core.Pattern { return core.Pattern{Address: address(name), Match: core.Exact} }

type registrar interface {
	Register(ctx context.Context, p core.Pattern, o core.RegisterOptions) (core.Stream[*core.Invocation], error)
}

type subscriber interface {
	Subscribe(ctx context.Context, p core.Pattern) (core.Stream[*core.Event], error)
}

type publisher interface {
	Publish(ctx context.Context, e *core.Event) error
}

func serve(t testing.TB, b registrar, name string, f func(*core.Invocation)) {
	t.Helper()
	stream, err := b.Register(within(t), exact(name), core.RegisterOptions{})
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
				f(inv)
			}
		}
	})
	t.Cleanup(func() {
		_ = stream.Close()
		wg.Wait()
	})
}

func echo(inv *core.Invocation) { inv.Reply(&core.Result{Payload: inv.Payload}, nil) }

func subscribe(t testing.TB, b subscriber, p core.Pattern) core.Stream[*core.Event] {
	t.Helper()
	stream, err := b.Subscribe(within(t), p)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

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

func wantCode(t testing.TB, err error, code core.Code) *core.Error {
	t.Helper()
	if core.CodeOf(err) != code {
		t.Fatalf("error %v has code %q, want %q", err, core.CodeOf(err), code)
	}
	return core.AsError(err)
}

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

func status(t testing.TB, b *wamp.Backend) core.Status {
	t.Helper()
	st, err := b.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestInfo(t *testing.T) {
	b, info := run(t, inside)
	if info.Kind != "wamp" || len(info.Listen) == 0 || !strings.HasPrefix(info.Listen[0], "ws://127.0.0.1:") {
		t.Fatalf("info %+v", info)
	}
	can := info.Can
	if !can.Publish || !can.Call || !can.Retain || len(can.Invoke) != 4 ||
		!can.CanSubscribe(core.Wildcard) || !can.CanRegister(core.Prefix) {
		t.Fatalf("capabilities %+v", can)
	}
	if st := status(t, b); st.State != core.Up || st.Reason != "" || st.Counters["joins"] != 2 {
		t.Fatalf("status %+v", st)
	}
	// A backend that joins that router.
	_, info = run(t, fmt.Sprintf(`{"url": %q, "realm": "realm1"}`, info.Listen[0]))
	if len(info.Listen) != 0 || !info.Can.Call {
		t.Fatalf("info %+v", info)
	}
}

// TestFidelity sends values through the router and back, with a peer of each
// serialisation: they come back as they were.
func TestFidelity(t *testing.T) {
	b, info := run(t, inside)
	const args = `[9007199254740993,-9223372036854775808,18446744073709551615,1.5,"\u0000AQID","zwei",null,[],{},{"z":1,"a":{"y":[null],"b":2}}]`
	const kwargs = `{"z":[],"a":null,"m":{"k2":"","k1":9007199254740993}}`
	const huge = `[123456789012345678901234567890,-123456789012345678901234567890]`
	separator := "[\"\u2028\U0001F69C\"]"
	for _, s := range []wire.Serialization{wire.JSON, wire.CBOR, wire.MsgPack} {
		t.Run(s.String(), func(t *testing.T) {
			peer := join(t, info.Listen[0], s)
			name := "com.fidelity." + s.String()
			serve(t, peer, name, echo)
			events := subscribe(t, b, exact(name))
			theirs := subscribe(t, peer, exact(name))
			payloads := []core.Payload{
				{Args: json.RawMessage(args), Kwargs: json.RawMessage(kwargs)},
				{Args: json.RawMessage(separator)},
				{Args: json.RawMessage(`[]`)},
				{},
			}
			if s != wire.MsgPack { // which has no integers of that size
				payloads = append(payloads, core.Payload{Args: json.RawMessage(huge)})
			}
			for _, p := range payloads {
				r, err := b.Call(within(t), &core.Call{Procedure: address(name), Payload: p})
				if err != nil {
					t.Fatal(err)
				}
				if string(r.Args) != string(p.Args) || string(r.Kwargs) != string(p.Kwargs) {
					t.Errorf("args %s kwargs %s came back as %s %s", p.Args, p.Kwargs, r.Args, r.Kwargs)
				}
				for from, to := range map[publisher]core.Stream[*core.Event]{b: theirs, peer: events} {
					if err := from.Publish(within(t), &core.Event{Topic: address(name), Payload: p}); err != nil {
						t.Fatal(err)
					}
					e := take(t, to, 1)[0]
					if string(e.Args) != string(p.Args) || string(e.Kwargs) != string(p.Kwargs) {
						t.Errorf("event %s %s arrived as %s %s", p.Args, p.Kwargs, e.Args, e.Kwargs)
					}
				}
			}
		})
	}
}

// TestNexusClient talks to a client that is not ours.
func TestNexusClient(t *testing.T) {
	b, info := run(t, inside)
	serve(t, b, "com.echo", echo)
	for name, s := range map[string]serialize.Serialization{"json": client.JSON, "msgpack": client.MSGPACK, "cbor": client.CBOR} {
		t.Run(name, func(t *testing.T) {
			c, err := client.ConnectNet(within(t), info.Listen[0], client.Config{
				Realm: "realm1", Serialization: s, Logger: slog.NewLogLogger(slog.DiscardHandler, 0), ResponseTimeout: patience,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			r, err := c.Call(within(t), "com.echo", nil, nexus.List{int64(9007199254740993), "x"}, nexus.Dict{"k": true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := nexus.AsInt64(r.Arguments[0]); n != 9007199254740993 || r.ArgumentsKw["k"] != true {
				t.Fatalf("result %+v", r)
			}
			err = c.Register("com.theirs."+name, func(_ context.Context, inv *nexus.Invocation) client.InvokeResult {
				return client.InvokeResult{Err: "com.theirs.error", Args: inv.Arguments}
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = b.Call(within(t), &core.Call{Procedure: address("com.theirs." + name), Payload: core.Payload{Args: json.RawMessage(`[9007199254740993]`)}})
			e := wantCode(t, err, core.Application)
			if e.URI != "com.theirs.error" || string(e.Args) != `[9007199254740993]` {
				t.Fatalf("error %#v", e)
			}
		})
	}
}

// TestMetaProcedures reads results that the router makes of Go values.
func TestMetaProcedures(t *testing.T) {
	b, _ := run(t, inside)
	r, err := b.Call(within(t), &core.Call{Procedure: address("wamp.session.list")})
	if err != nil {
		t.Fatal(err)
	}
	var ids [][]uint64
	if err := json.Unmarshal(r.Args, &ids); err != nil || len(ids) != 1 || len(ids[0]) == 0 || ids[0][0] == 0 {
		t.Fatalf("result %s: %v", r.Args, err)
	}
}

// TestOwnEvents brings back to the backend's subscriptions what others publish, also
// another backend on the same router, and nothing of its own.
func TestOwnEvents(t *testing.T) {
	b, info := run(t, inside)
	outside, _ := run(t, fmt.Sprintf(`{"url": %q, "realm": "realm1"}`, info.Listen[0]))
	serve(t, b, "com.echo", echo) // there are sessions for registrations
	serve(t, outside, "com.echo.outside", echo)
	patterns := []core.Pattern{
		exact("com.own"),
		{Address: address("com."), Match: core.Prefix},
		{Address: address("com."), Match: core.Wildcard},
	}
	const each = 100
	var streams [2][]core.Stream[*core.Event]
	var ids [2][]string
	for i, b := range []*wamp.Backend{b, outside} {
		for _, p := range patterns {
			streams[i] = append(streams[i], subscribe(t, b, p))
		}
	}
	var publishing sync.WaitGroup
	for i, b := range []*wamp.Backend{b, outside} {
		publishing.Go(func() {
			for n := range each {
				e := &core.Event{Topic: address("com.own"), Options: core.PublishOptions{Retain: n%10 == 0}}
				if err := b.Publish(within(t), e); err != nil || e.Withheld {
					t.Errorf("event %+v: %v", e, err)
				}
				ids[i] = append(ids[i], e.ID)
			}
		})
	}
	publishing.Wait()
	for i := range streams {
		for _, stream := range streams[i] {
			for n, e := range take(t, stream, each) {
				if e.ID != ids[1-i][n] {
					t.Fatalf("event %d is %+v, want %s", n, e, ids[1-i][n])
				}
			}
		}
	}
	for _, b := range []*wamp.Backend{b, outside} {
		if got := status(t, b).Counters["events_in"]; got != int64(len(patterns)*each) {
			t.Errorf("%d events arrived, want %d", got, len(patterns)*each)
		}
	}
}

// TestPublishOptions has the router and the backend agree on whom an event is for.
func TestPublishOptions(t *testing.T) {
	b, info := run(t, inside)
	events := subscribe(t, join(t, info.Listen[0]), exact("com.options"))
	for _, c := range []struct {
		options                core.PublishOptions
		withheld, fromListener bool
	}{
		{core.PublishOptions{EligibleAuthRole: []string{"trusted"}}, false, true},
		{core.PublishOptions{EligibleAuthID: []string{"anybridge"}}, false, true},
		{core.PublishOptions{ExcludeAuthRole: []string{"trusted"}}, true, false},
		{core.PublishOptions{ExcludeAuthID: []string{"anybridge"}, Retain: true}, true, false},
		{core.PublishOptions{Eligible: []uint64{}}, true, true},
		{core.PublishOptions{Exclude: []uint64{1}, Retain: true}, false, false},
	} {
		e := &core.Event{Topic: address("com.options"), Options: c.options}
		if err := b.Publish(within(t), e); err != nil {
			t.Fatal(err)
		}
		marker := &core.Event{Topic: address("com.options")}
		if err := b.Publish(within(t), marker); err != nil {
			t.Fatal(err)
		}
		arrived := slices.Contains(before(t, events, marker.ID), e.ID)
		if e.Withheld != c.withheld || arrived == c.fromListener {
			t.Errorf("%+v: withheld from the bridge: %v, from the listener: %v", c.options, e.Withheld, !arrived)
		}
	}
}

// TestBurst publishes 200,000 events as fast as one client can; the bridge gets all
// of them, in order.
func TestBurst(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	b, info := run(t, inside)
	events := subscribe(t, b, exact("com.burst"))
	c, err := client.ConnectNet(within(t), info.Listen[0], client.Config{
		Realm: "realm1", Logger: slog.NewLogLogger(slog.DiscardHandler, 0), ResponseTimeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	const n = 200_000
	var publishing sync.WaitGroup
	publishing.Go(func() {
		defer c.Close()
		for i := range n {
			options := nexus.Dict{}
			if i == n-1 {
				options["acknowledge"] = true // so that Close comes after the last one
			}
			if err := c.Publish("com.burst", options, nexus.List{i}, nil); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i, e := range take(t, events, n) {
		if string(e.Args) != "["+strconv.Itoa(i)+"]" {
			t.Fatalf("event %d is %s", i, e.Args)
		}
	}
	publishing.Wait()
	if st := status(t, b); st.Counters["events_dropped"] != 0 {
		t.Fatalf("counters %v", st.Counters)
	}
}

func TestManyCalls(t *testing.T) {
	b, _ := run(t, inside)
	serve(t, b, "com.echo", echo)
	var wg sync.WaitGroup
	for i := range 10_000 {
		wg.Go(func() {
			want := "[" + strconv.Itoa(i) + "]"
			r, err := b.Call(context.Background(), &core.Call{Procedure: address("com.echo"), Payload: core.Payload{Args: json.RawMessage(want)}})
			if err != nil || string(r.Args) != want {
				t.Errorf("call %d: %v %v", i, r, err)
			}
		})
	}
	wg.Wait()
}

// TestCancel goes all the way: from a client that gives up to the bridge's
// invocation, and from the bridge's caller to a client.
func TestCancel(t *testing.T) {
	b, info := run(t, inside)
	peer := join(t, info.Listen[0])
	for name, c := range map[string]struct {
		callee registrar
		caller interface {
			Call(context.Context, *core.Call) (*core.Result, error)
		}
	}{"in": {b, peer}, "out": {peer, b}} {
		t.Run(name, func(t *testing.T) {
			arrived, canceled := make(chan struct{}), make(chan struct{})
			serve(t, c.callee, "com.slow."+name, func(inv *core.Invocation) {
				close(arrived)
				<-inv.Canceled
				close(canceled)
			})
			ctx, cancel := context.WithCancel(within(t))
			go func() {
				<-arrived
				cancel()
			}()
			_, err := c.caller.Call(ctx, &core.Call{Procedure: address("com.slow." + name)})
			wantCode(t, err, core.Canceled)
			<-canceled
		})
	}
}

// TestTimeout lets a deadline travel to the callee, and end there.
func TestTimeout(t *testing.T) {
	b, info := run(t, inside)
	peer := join(t, info.Listen[0])
	timeouts, canceled := make(chan time.Duration, 1), make(chan struct{})
	serve(t, b, "com.slow", func(inv *core.Invocation) {
		timeouts <- inv.Timeout
		<-inv.Canceled
		close(canceled)
	})
	ctx, cancel := context.WithTimeout(within(t), 100*time.Millisecond)
	defer cancel()
	_, err := peer.Call(ctx, &core.Call{Procedure: address("com.slow")})
	wantCode(t, err, core.Timeout)
	if d := <-timeouts; d <= 0 || d > 101*time.Millisecond {
		t.Fatalf("timeout %v", d)
	}
	<-canceled
}

func TestReconfigure(t *testing.T) {
	b, info := run(t, inside)
	events := subscribe(t, b, exact("com.events"))
	serve(t, b, "com.echo", echo)
	peer := join(t, info.Listen[0])

	for _, c := range []struct {
		config string
		code   core.Code
		says   string
	}{
		{`{"url": "ws://127.0.0.1:1/", "realm": "realm1"}`, core.Unimplemented, "fresh start"},
		{`{"router": {"listen": "127.0.0.1:0", "realms": ["realm1"], "limts": {}}}`, core.InvalidArgument, `router.limts: unknown key; did you mean "limits"?`},
		{`{"router": {"listen": "127.0.0.1:0", "realms": ["realm1"]}, "callee_sessions": 7}`, core.Unimplemented, "fresh start"},
	} {
		_, err := b.Open(within(t), json.RawMessage(c.config))
		if e := wantCode(t, err, c.code); !strings.Contains(e.Message, c.says) {
			t.Errorf("%s: %q", c.config, e.Message)
		}
	}

	// Nothing of this touches the sessions that are there.
	config := fmt.Sprintf(`{"router": {"listen": "127.0.0.1:0", "realms": ["realm1", "realm2", "realm3"], "tokens": []},
		"tokens": [{"name": "shop", "hash": "%064x", "allow": ["*"]}]}`, 7)
	if _, err := b.Open(within(t), json.RawMessage(config)); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Call(within(t), &core.Call{Procedure: address("com.echo")}); err != nil {
		t.Fatal(err)
	}
	if st := status(t, b); st.Counters["joins"] != 3 {
		t.Fatalf("joins %d", st.Counters["joins"])
	}

	// Another realm: the sessions move, and take everything along.
	moved := `{"router": {"listen": "127.0.0.1:0", "realms": ["realm1", "realm2"]}, "realm": "realm2"}`
	if _, err := b.Open(within(t), json.RawMessage(moved)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the procedure has left the first realm", func() bool {
		_, err := peer.Call(within(t), &core.Call{Procedure: address("com.echo")})
		return core.CodeOf(err) == core.NoSuchProcedure
	})
	eventually(t, "the backend works in the other realm", func() bool {
		_, err := b.Call(within(t), &core.Call{Procedure: address("com.echo")})
		return err == nil && status(t, b).Reason == ""
	})
	if err := joinRealm(t, info.Listen[0], "realm2").Publish(within(t), &core.Event{Topic: address("com.events")}); err != nil {
		t.Fatal(err)
	}
	take(t, events, 1)
}

func TestMoveToAnotherRouter(t *testing.T) {
	_, first := run(t, inside)
	_, second := run(t, inside)
	b, _ := run(t, fmt.Sprintf(`{"url": %q, "realm": "realm1", "serializer": "cbor"}`, first.Listen[0]))
	serve(t, b, "com.echo", echo)
	peer := join(t, second.Listen[0])
	if _, err := b.Open(within(t), json.RawMessage(fmt.Sprintf(`{"url": %q, "realm": "realm1"}`, second.Listen[len(second.Listen)-1]))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the procedure has moved", func() bool {
		_, err := peer.Call(within(t), &core.Call{Procedure: address("com.echo")})
		return err == nil
	})
}

func TestTicketOfToken(t *testing.T) {
	text := core.NewTokenText()
	hash := core.HashToken(text)
	config := fmt.Sprintf(`{"router": {"listen": "127.0.0.1:0", "realms": ["realm1"]},
		"tokens": [{"name": "shop", "hash": "sha256:%x", "allow": ["call:com.shop.*"]}]}`, hash[:])
	b, info := run(t, config)
	serve(t, b, "com.shop.who", func(inv *core.Invocation) {
		inv.Reply(&core.Result{Payload: core.Payload{Kwargs: inv.Details}}, nil)
	})
	serve(t, b, "com.other", echo)
	shop, _ := run(t, fmt.Sprintf(`{"url": %q, "realm": "realm1", "auth": {"method": "ticket", "authid": "shop", "ticket": %q}}`, info.Listen[0], text))
	r, err := shop.Call(within(t), &core.Call{Procedure: address("com.shop.who")})
	if err != nil {
		t.Fatal(err)
	}
	var details struct {
		Caller   uint64 `json:"caller"`
		AuthID   string `json:"caller_authid"`
		AuthRole string `json:"caller_authrole"`
	}
	if err := json.Unmarshal(r.Kwargs, &details); err != nil || details.AuthID != "shop" || details.Caller == 0 || details.AuthRole == "" {
		t.Fatalf("details %s", r.Kwargs)
	}
	_, err = shop.Call(within(t), &core.Call{Procedure: address("com.other")})
	wantCode(t, err, core.Forbidden)
	stranger, _ := run(t, fmt.Sprintf(`{"url": %q, "realm": "realm1", "auth": {"method": "ticket", "authid": "shop", "ticket": "ab_guess"}}`, info.Listen[0]))
	eventually(t, "the refusal is reported", func() bool {
		st := status(t, stranger)
		return st.State == core.Down && strings.Contains(st.Reason, "authentication failed") && !strings.Contains(st.Reason, "ab_guess")
	})
}

// TestClose ends streams with io.EOF and answers who waits.
func TestClose(t *testing.T) {
	b := wamp.New(slog.New(slog.DiscardHandler))
	if _, err := b.Open(within(t), json.RawMessage(inside)); err != nil {
		t.Fatal(err)
	}
	events := subscribe(t, b, exact("com.events"))
	invocations, err := b.Register(within(t), exact("com.served"), core.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	calling := make(chan error, 1)
	go func() {
		_, err := b.Call(context.Background(), &core.Call{Procedure: address("com.served")})
		calling <- err
	}()
	batch, err := invocations.Next(within(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_ = b.Close(ctx) // the invocation is never answered
	wantCode(t, <-calling, core.Unavailable)
	if !closed(batch[0].Canceled) {
		t.Fatal("the invocation was not canceled")
	}
	if _, err := events.Next(within(t)); !errors.Is(err, io.EOF) {
		t.Fatalf("the subscription ended with %v", err)
	}
	if _, err := invocations.Next(within(t)); !errors.Is(err, io.EOF) {
		t.Fatalf("the registration ended with %v", err)
	}
	wantCode(t, b.Publish(within(t), &core.Event{Topic: address("com.x")}), core.Unavailable)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
