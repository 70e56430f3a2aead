package irc_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/irc"
	"github.com/anybridge/anybridge/backends/irc/irctest"
	"github.com/anybridge/anybridge/core"
)

func state(t *testing.T, b *irc.Backend) core.Status {
	t.Helper()
	st, err := b.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestServerKilledAndBack(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *irctest.Server) {
		b := open(t, config(s, map[string]any{"channels": []any{"#kept"}}))
		exact, prefix, me := subscribe(t, b, "#ops", core.Exact), subscribe(t, b, "#", core.Prefix), subscribe(t, b, "@me", core.Exact)
		before := time.Now()
		s.Kill()
		eventually(t, "the loss is noticed", func() bool { return state(t, b).State == core.Connecting })
		err := b.Publish(within(t), &core.Event{Topic: address("#ops"), Payload: core.TextPayload("x")})
		if core.CodeOf(err) != core.Unavailable {
			t.Errorf("publish while away: %v", err)
		}
		s.Start(t)
		eventually(t, "the connection is back", func() bool { return state(t, b).Counters["channels_now"] == 2 })
		if e := exact.next(); e.Gap == nil || e.Topic.Name != "#ops" || e.Gap.Since.After(time.Now()) || e.Gap.Until.Before(before) {
			t.Errorf("no gap: %+v", e)
		}
		if e := me.next(); e.Gap == nil {
			t.Errorf("no gap: %+v", e)
		}
		gaps := map[string]bool{}
		for range 2 {
			if e := prefix.next(); e.Gap != nil {
				gaps[e.Topic.Name] = true
			}
		}
		if !gaps["#ops"] || !gaps["#kept"] {
			t.Errorf("gaps %v", gaps)
		}
		alice := irctest.Dial(t, s.Addr, "alice")
		alice.Join("#ops")
		alice.Send("PRIVMSG #ops :again")
		if e := exact.next(); string(e.Args) != `["again"]` {
			t.Errorf("%+v", e)
		}
		publish(t, b, "#ops", core.TextPayload("back"))
		alice.Expect(`PRIVMSG #ops :back`)
	})
}

func TestKilledWhilePublishing(t *testing.T) {
	t.Parallel()
	s := irctest.StartInspIRCd(t, irctest.Options{})
	b := open(t, config(s, map[string]any{"channels": []any{"#ops"}}))
	publish(t, b, "#ops", core.TextPayload("first"))
	var publishers sync.WaitGroup
	for range 8 {
		publishers.Go(func() {
			for {
				err := b.Publish(t.Context(), &core.Event{Topic: address("#ops"), Payload: core.TextPayload("x")})
				if err != nil {
					if core.CodeOf(err) != core.Unavailable {
						t.Errorf("publish: %v", err)
					}
					return
				}
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	s.Kill()
	publishers.Wait()
}

func TestOpenWhileAway(t *testing.T) {
	t.Parallel()
	s := irctest.StartNgIRCd(t)
	s.Kill()
	b := open(t, config(s, map[string]any{"channels": []any{"#ops"}}))
	if st := state(t, b); st.State == core.Up || st.Reason == "" {
		t.Errorf("status %+v", st)
	}
	if _, err := b.Subscribe(t.Context(), core.Pattern{Address: address("#ops")}); core.CodeOf(err) != core.Unavailable {
		t.Errorf("subscribe: %v", err)
	}
	s.Start(t)
	eventually(t, "it connects", func() bool { return state(t, b).State == core.Up })
}

func TestKick(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, s *irctest.Server) {
		op := irctest.Dial(t, s.Addr, "oper")
		op.Join("#ops")
		b := open(t, config(s, map[string]any{"rejoin": "300ms"}))
		events := subscribe(t, b, "#ops", core.Exact)
		op.Expect(`bridge\S* JOIN`)
		op.Send("KICK #ops bridge :out")
		op.Expect(`KICK #ops bridge`)
		op.Expect(`bridge\S* JOIN`)
		if e := events.next(); e.Gap == nil {
			t.Errorf("%+v", e)
		}
		op.Send("MODE #ops +b bridge!*@*")
		op.Send("KICK #ops bridge :and stay out")
		eventually(t, "banned", func() bool { return strings.Contains(state(t, b).Reason, "does not let us into #ops") })
		err := b.Publish(within(t), &core.Event{Topic: address("#ops"), Payload: core.TextPayload("x")})
		if core.CodeOf(err) != core.Forbidden {
			t.Error(err)
		}
		op.Send("MODE #ops -b bridge!*@*")
		op.Expect(`bridge\S* JOIN`)
		publish(t, b, "#ops", core.TextPayload("back"))
		op.Expect("PRIVMSG #ops :back")
	})
}

func TestNickInUse(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, s *irctest.Server) {
		thief := irctest.Dial(t, s.Addr, "bridge")
		thief.Join("#ops")
		b := open(t, config(s, map[string]any{"channels": []any{"#ops"}}))
		thief.Expect(`^:bridge_\S* JOIN`)
		if st := state(t, b); st.State != core.Up || !strings.Contains(st.Reason, "bridge_") {
			t.Errorf("status %+v", st)
		}
		publish(t, b, "#ops", core.TextPayload("hi"))
		thief.Expect(`^:bridge_!\S* PRIVMSG #ops :hi`)
		alice := irctest.Dial(t, s.Addr, "alice")
		alice.Join("#ops")
		thief.Send("NICK other")
		alice.Expect(`^:bridge_!\S* NICK :?bridge$`)
		publish(t, b, "#ops", core.TextPayload("it is me"))
		alice.Expect(`^:bridge!\S* PRIVMSG #ops :it is me`)
	})
}

// A burst of 200 publishes arrives complete and in order, though the server
// disconnects who sends too fast.
func TestFlood(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 15 seconds")
	}
	for name, o := range map[string]irctest.Options{"labels": {Strict: true}, "plain": {Strict: true, Plain: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := irctest.StartInspIRCd(t, o)
			b := open(t, config(s, map[string]any{"channels": []any{"#ops"}, "flood": map[string]any{"burst": 8, "interval": "60ms"}}))
			listener := irctest.Dial(t, s.Addr, "alice")
			listener.Join("#ops")
			const n = 200
			var publishers sync.WaitGroup
			turn := make(chan struct{}, 1)
			for i := range n {
				turn <- struct{}{}
				publishers.Go(func() {
					e := &core.Event{Topic: address("#ops"), Payload: core.TextPayload(fmt.Sprintf("message %03d", i))}
					time.AfterFunc(2*time.Millisecond, func() { <-turn })
					if err := b.Publish(t.Context(), e); err != nil {
						t.Errorf("publish %d: %v", i, err)
					}
				})
			}
			for i := range n {
				if got := irctest.Text(listener.Expect("PRIVMSG")); got != fmt.Sprintf("message %03d", i) {
					t.Fatalf("message %d is %q", i, got)
				}
			}
			publishers.Wait()
			if st := state(t, b); st.Counters["connections"] != 1 {
				t.Errorf("reconnected: %+v", st)
			}
		})
	}
}

// Without the backend's own limit the same burst costs the connection.
func TestFloodUnlimited(t *testing.T) {
	t.Parallel()
	s := irctest.StartInspIRCd(t, irctest.Options{Strict: true})
	b := open(t, config(s, map[string]any{"channels": []any{"#ops"}}))
	for i := range 200 {
		err := b.Publish(t.Context(), &core.Event{Topic: address("#ops"), Payload: core.TextPayload(fmt.Sprint(i))})
		if core.CodeOf(err) == core.Unavailable {
			return
		}
	}
	t.Error("the server let everything pass: this test proves nothing")
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	s := irctest.StartNgIRCd(t)
	b := open(t, config(s, map[string]any{"channels": []any{"#ops"}, "flood": map[string]any{"burst": 1, "interval": "1h", "queue": 10}}))
	publishAsync := func() error {
		ctx, cancel := contextWithCancel(t)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			done <- b.Publish(ctx, &core.Event{Topic: address("#ops"), Payload: core.TextPayload("x")})
		}()
		select {
		case err := <-done:
			return err
		case <-time.After(200 * time.Millisecond):
			cancel()
			return <-done
		}
	}
	if err := publishAsync(); core.CodeOf(err) != core.Canceled || !strings.Contains(err.Error(), "nothing was sent") {
		t.Errorf("canceled publish: %v", err)
	}
	if n := state(t, b).Counters["lines_queued_now"]; n != 0 {
		t.Errorf("%d lines are left of a canceled publish", n)
	}
	err := b.Publish(within(t), &core.Event{Topic: address("#ops"), Payload: core.TextPayload("x")})
	if e, ok := errors.AsType[*core.Error](err); !ok || e.Code != core.TooMany || e.RetryAfter == 0 {
		t.Errorf("publish that cannot be in time: %v", err)
	}
	err = b.Publish(t.Context(), &core.Event{Topic: address("#ops"), Payload: core.TextPayload(strings.Repeat("x\n", 11))})
	if core.CodeOf(err) != core.TooLarge {
		t.Errorf("too many lines: %v", err)
	}
}

// Leaving and joining in quick succession ends where it should.
func TestJoinAfterPart(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, s *irctest.Server) {
		b := open(t, config(s, nil))
		for range 50 {
			events := subscribe(t, b, "#ops", core.Exact)
			_ = events.stream.Close()
		}
		for range 50 {
			ctx, cancel := contextWithCancel(t)
			cancel()
			if stream, err := b.Subscribe(ctx, core.Pattern{Address: address("#ops")}); err == nil {
				_ = stream.Close()
			}
		}
		events := subscribe(t, b, "#ops", core.Exact)
		alice := irctest.Dial(t, s.Addr, "alice")
		alice.Join("#ops")
		publish(t, b, "#ops", core.TextPayload("x"))
		alice.Expect(`^:bridge!\S+ PRIVMSG #ops :x`)
		alice.Send("PRIVMSG #ops :y")
		if e := events.next(); string(e.Args) != `["y"]` {
			t.Errorf("%+v", e)
		}
	})
}
