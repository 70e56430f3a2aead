package irc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/irc"
	"github.com/anybridge/anybridge/backends/irc/irctest"
	"github.com/anybridge/anybridge/core"
)

// servers are what the tests run against: with every IRCv3 capability, with
// echo-message alone, with none, and another implementation.
func servers() map[string]func(t testing.TB) *irctest.Server {
	return map[string]func(t testing.TB) *irctest.Server{
		"inspircd labels": func(t testing.TB) *irctest.Server { return irctest.StartInspIRCd(t, irctest.Options{}) },
		"inspircd echo":   func(t testing.TB) *irctest.Server { return irctest.StartInspIRCd(t, irctest.Options{NoLabels: true}) },
		"inspircd plain":  func(t testing.TB) *irctest.Server { return irctest.StartInspIRCd(t, irctest.Options{Plain: true}) },
		"ngircd":          irctest.StartNgIRCd,
	}
}

func eachServer(t *testing.T, test func(t *testing.T, s *irctest.Server)) {
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

// eachKind runs a test against the two implementations, where capabilities do not
// matter.
func eachKind(t *testing.T, test func(t *testing.T, s *irctest.Server)) {
	for _, name := range []string{"inspircd labels", "ngircd"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, servers()[name](t))
		})
	}
}

// config is a configuration for a server without flood limits, with changes.
func config(s *irctest.Server, changes map[string]any) json.RawMessage {
	c := map[string]any{"server": s.Addr, "tls": false, "nick": "bridge", "flood": map[string]any{"interval": "0s"}}
	for key, value := range changes {
		c[key] = value
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return b
}

func open(t *testing.T, cfg json.RawMessage) *irc.Backend {
	t.Helper()
	b := irc.New(slog.New(slog.NewTextHandler(t.Output(), nil)))
	if _, err := b.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return b
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func subscribe(t *testing.T, b *irc.Backend, name string, match core.Match) *reader {
	t.Helper()
	stream, err := b.Subscribe(within(t), core.Pattern{Address: address(name), Match: match})
	if err != nil {
		t.Fatal(err)
	}
	return &reader{t: t, stream: stream}
}

func address(name string) core.Address { return core.Address{Backend: "irc", Name: name} }

func publish(t *testing.T, b *irc.Backend, to string, p core.Payload) *core.Event {
	t.Helper()
	e := &core.Event{ID: "own", Topic: address(to), Payload: p, Time: time.Now()}
	if err := b.Publish(within(t), e); err != nil {
		t.Fatal(err)
	}
	return e
}

// reader takes events one by one.
type reader struct {
	t       *testing.T
	stream  core.Stream[*core.Event]
	waiting []*core.Event
}

func (r *reader) next() *core.Event {
	r.t.Helper()
	for len(r.waiting) == 0 {
		batch, err := r.stream.Next(within(r.t))
		if err != nil {
			r.t.Fatal(err)
		}
		r.waiting = slices.Clone(batch)
	}
	e := r.waiting[0]
	r.waiting = r.waiting[1:]
	return e
}

func detail(t *testing.T, raw json.RawMessage, key string) any {
	t.Helper()
	var d map[string]any
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return d[key]
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestChannel(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *irctest.Server) {
		alice := irctest.Dial(t, s.Addr, "alice")
		alice.Join("#ops")
		b := open(t, config(s, nil))
		events := subscribe(t, b, "#Ops", core.Exact)
		alice.Expect(`^:bridge\S* JOIN :?#[oO]ps`)

		publish(t, b, "#ops", core.TextPayload("hello\nworld"))
		alice.Expect(`^:bridge!\S+ PRIVMSG #[oO]ps :hello$`)
		alice.Expect(`^:bridge!\S+ PRIVMSG #[oO]ps :world$`)
		publish(t, b, "#ops", core.Payload{Kwargs: json.RawMessage(`{"text":"waves","action":true}`)})
		alice.Expect("PRIVMSG #[oO]ps :\x01ACTION waves\x01$")
		publish(t, b, "#ops", core.Payload{Kwargs: json.RawMessage(`{"text":"psst","notice":true}`)})
		alice.Expect("NOTICE #[oO]ps :psst$")

		alice.Send("PRIVMSG #OPS :\x02bold\x02 \x0304,01red\x03 é")
		e := events.next()
		if e.Topic != address("#Ops") || string(e.Args) != `["bold red é"]` || detail(t, e.Details, "publisher") != "alice" || e.ID == "" {
			t.Errorf("event %+v, args %s, details %s", e, e.Args, e.Details)
		}
		alice.Send("PRIVMSG #ops :\x01ACTION dances\x01")
		if e = events.next(); string(e.Args) != `["dances"]` || detail(t, e.Details, "action") != true {
			t.Errorf("args %s, details %s", e.Args, e.Details)
		}
		alice.Send("NOTICE #ops :hm")
		if e = events.next(); string(e.Args) != `["hm"]` || detail(t, e.Details, "notice") != true {
			t.Errorf("args %s, details %s", e.Args, e.Details)
		}
		if err := events.stream.Close(); err != nil {
			t.Error(err)
		}
		alice.Expect(`^:bridge\S* PART :?#[oO]ps`)
	})
}

func TestPrivate(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *irctest.Server) {
		alice := irctest.Dial(t, s.Addr, "alice")
		b := open(t, config(s, nil))
		all, hers, others := subscribe(t, b, "@me", core.Exact), subscribe(t, b, "Alice", core.Exact), subscribe(t, b, "bob", core.Prefix)
		publish(t, b, "alice", core.TextPayload("hi"))
		alice.Expect(`^:bridge!\S+ PRIVMSG alice :hi$`)
		alice.Send("PRIVMSG bridge :hello")
		if e := all.next(); e.Topic.Name != "@me" || string(e.Args) != `["hello"]` {
			t.Errorf("%+v", e)
		}
		if e := hers.next(); e.Topic.Name != "Alice" || string(e.Args) != `["hello"]` {
			t.Errorf("%+v", e)
		}
		bobby := irctest.Dial(t, s.Addr, "bobby")
		bobby.Send("PRIVMSG bridge :me too")
		if e := others.next(); e.Topic.Name != "bobby" || string(e.Args) != `["me too"]` {
			t.Errorf("%+v", e)
		}
		err := b.Publish(within(t), &core.Event{Topic: address("nobody"), Payload: core.TextPayload("x")})
		if core.CodeOf(err) != core.NotFound {
			t.Errorf("publish to nobody: %v", err)
		}
	})
}

func TestOwnMessagesStayAway(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *irctest.Server) {
		b := open(t, config(s, map[string]any{"channels": []any{"#ops"}}))
		all, channel, me := subscribe(t, b, "#", core.Prefix), subscribe(t, b, "#ops", core.Exact), subscribe(t, b, "@me", core.Exact)
		for i := range 20 {
			publish(t, b, "#ops", core.TextPayload(fmt.Sprint(i)))
		}
		publish(t, b, "bridge", core.TextPayload("to myself"))
		alice := irctest.Dial(t, s.Addr, "alice")
		alice.Join("#ops")
		alice.Send("PRIVMSG #ops :end")
		alice.Send("PRIVMSG bridge :end")
		for _, r := range []*reader{all, channel, me} {
			if e := r.next(); string(e.Args) != `["end"]` {
				t.Errorf("%+v %s", e, e.Args)
			}
		}
	})
}

func TestConfirmedID(t *testing.T) {
	t.Parallel()
	s := irctest.StartInspIRCd(t, irctest.Options{})
	a := open(t, config(s, map[string]any{"channels": []any{"#ops"}}))
	b := open(t, config(s, map[string]any{"nick": "other"}))
	events := subscribe(t, b, "#ops", core.Exact)
	e := &core.Event{ID: "own", Topic: address("#ops"), Payload: core.TextPayload("x"), Via: "route-1"}
	if err := a.Publish(within(t), e); err != nil {
		t.Fatal(err)
	}
	got := events.next()
	if e.ID == "own" || got.ID != e.ID || got.Via != "route-1" {
		t.Errorf("published %q, heard %q via %q", e.ID, got.ID, got.Via)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *irctest.Server) {
		op := irctest.Dial(t, s.Addr, "oper")
		op.Join("#quiet")
		op.Send("MODE #quiet +m")
		op.Join("#closed")
		op.Send("MODE #closed +i")
		op.Join("#locked")
		op.Send("MODE #locked +k secret")
		op.Expect(` MODE #locked \+k`)
		b := open(t, config(s, map[string]any{"channels": []any{"#quiet", "#open", map[string]string{"name": "#locked", "key": "secret"}}}))
		publish(t, b, "#locked", core.TextPayload("x"))
		op.Expect(`PRIVMSG #locked :x`)
		for name, want := range map[string]core.Code{
			"#quiet": core.Forbidden, "#closed": core.Forbidden, "#with space": core.InvalidArgument, "#a,#b": core.InvalidArgument,
			"alice,bob": core.InvalidArgument, "$*": core.InvalidArgument, "a!b@c": core.InvalidArgument, "@#open": core.InvalidArgument,
			"#" + strings.Repeat("x", 300): core.InvalidArgument, strings.Repeat("x", 63): core.InvalidArgument,
		} {
			err := b.Publish(within(t), &core.Event{Topic: address(name), Payload: core.TextPayload("x")})
			if core.CodeOf(err) != want {
				t.Errorf("publish to %s: %v (%s), want %s", name, err, core.CodeOf(err), want)
			}
		}
		if _, err := b.Subscribe(within(t), core.Pattern{Address: address("#closed")}); core.CodeOf(err) != core.Forbidden {
			t.Errorf("subscribe to #closed: %v", err)
		}
		if err := b.Publish(within(t), &core.Event{Topic: address("#open")}); core.CodeOf(err) != core.InvalidArgument {
			t.Errorf("publish nothing: %v", err)
		}
		publish(t, b, "#open", core.TextPayload("still works"))
	})
}

func TestPublishJoins(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, s *irctest.Server) {
		alice := irctest.Dial(t, s.Addr, "alice")
		alice.Join("#new")
		b := open(t, config(s, nil))
		publish(t, b, "#new", core.TextPayload("hello"))
		alice.Expect(`PRIVMSG #new :hello`)
		if _, err := b.Open(t.Context(), config(s, map[string]any{"join_on_publish": false})); err != nil {
			t.Fatal(err)
		}
		err := b.Publish(within(t), &core.Event{Topic: address("#newer"), Payload: core.TextPayload("x")})
		if core.CodeOf(err) != core.Forbidden {
			t.Error(err)
		}
	})
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// A long line arrives in pieces, whole, whatever the length of our source.
func TestLongText(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, s *irctest.Server) {
		alice := irctest.Dial(t, s.Addr, "alice")
		alice.Join("#ops")
		b := open(t, config(s, map[string]any{"channels": []any{"#ops"}, "nick": "a-long-nick"}))
		text := strings.Repeat("é", 1500) + "end"
		publish(t, b, "#ops", core.TextPayload(text))
		var got strings.Builder
		for !strings.HasSuffix(got.String(), "end") {
			l := alice.Expect("PRIVMSG #ops")
			if len(l) > 510 {
				t.Errorf("%d bytes", len(l))
			}
			got.WriteString(irctest.Text(l))
		}
		if got.String() != text {
			t.Errorf("got %q", got.String())
		}
	})
}

func TestCTCP(t *testing.T) {
	t.Parallel()
	s := irctest.StartNgIRCd(t)
	b := open(t, config(s, map[string]any{"version": "bridge 1"}))
	me := subscribe(t, b, "@me", core.Exact)
	alice := irctest.Dial(t, s.Addr, "alice")
	alice.Send("PRIVMSG bridge :\x01VERSION\x01")
	alice.Expect("NOTICE alice :\x01VERSION bridge 1\x01")
	alice.Send("PRIVMSG bridge :\x01PING 12 34\x01")
	alice.Expect("NOTICE alice :\x01PING 12 34\x01")
	alice.Send("PRIVMSG bridge :\x01DCC SEND x\x01")
	for range 20 {
		alice.Send("PRIVMSG bridge :\x01TIME\x01")
	}
	alice.Send("PRIVMSG bridge :end")
	if e := me.next(); string(e.Args) != `["end"]` {
		t.Errorf("%s", e.Args)
	}
	publish(t, b, "alice", core.TextPayload("end"))
	alice.Expect("PRIVMSG alice :end")
	if n := strings.Count(strings.Join(alice.Lines(), "\n"), "TIME"); n > 2 {
		t.Errorf("%d answers to a flood of CTCP", n)
	}
}

func TestReconfigure(t *testing.T) {
	t.Parallel()
	s := irctest.StartNgIRCd(t)
	alice := irctest.Dial(t, s.Addr, "alice")
	alice.Join("#a")
	alice.Join("#b")
	b := open(t, config(s, map[string]any{"channels": []any{"#a"}}))
	alice.Expect(`^:bridge\S* JOIN :?#a`)
	if _, err := b.Open(t.Context(), config(s, map[string]any{"channels": []any{"#b"}, "nick": "renamed"})); err != nil {
		t.Fatal(err)
	}
	alice.Expect(`^:bridge\S* PART :?#a`)
	alice.Expect(`^:bridge\S* JOIN :?#b`)
	alice.Expect(`^:bridge\S* NICK :?renamed`)
	_, err := b.Open(t.Context(), config(s, map[string]any{"realname": "other"}))
	if core.CodeOf(err) != core.Unimplemented {
		t.Error(err)
	}
}

// The time of an event is the server's.
func TestServerTime(t *testing.T) {
	t.Parallel()
	s := irctest.StartInspIRCd(t, irctest.Options{})
	b := open(t, config(s, nil))
	me := subscribe(t, b, "@me", core.Exact)
	alice := irctest.Dial(t, s.Addr, "alice")
	alice.Send("PRIVMSG bridge :x")
	if e := me.next(); time.Since(e.Time).Abs() > time.Minute || e.Time.Location() != time.UTC {
		t.Errorf("time %s", e.Time)
	}
}
