package xmpp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/xmpp"
	"github.com/anybridge/anybridge/backends/xmpp/xmpptest"
	"github.com/anybridge/anybridge/core"
)

// serve answers the calls of a procedure until it is closed.
func serve(t *testing.T, b *xmpp.Backend, name string, f func(*core.Invocation)) core.Stream[*core.Invocation] {
	t.Helper()
	s, err := b.Register(ctx(t), pattern(name), core.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			batch, err := s.Next(context.Background())
			if err != nil {
				return
			}
			for _, i := range batch {
				f(i)
			}
		}
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return s
}

func echo(i *core.Invocation) { i.Reply(&core.Result{Payload: i.Payload}, nil) }

func call(t *testing.T, b *xmpp.Backend, c *core.Call) (*core.Result, error) {
	t.Helper()
	return b.Call(ctx(t), c)
}

func TestCalls(t *testing.T) { onServers(t, testCalls) }

func testCalls(t *testing.T, start xmpptest.Starter) {
	server := start(t)
	one := open(t, section(t, server, "one", nil))
	two := open(t, section(t, server, "two", nil))
	at := func(name string) core.Address { return address("one@xmpp.test/anybridge!" + name) }
	payload := core.Payload{Args: json.RawMessage(`[ 1, "a\r\n<", null]`), Kwargs: json.RawMessage(`{"n":9007199254740993}`)}

	details := make(chan json.RawMessage, 10)
	serve(t, one, "echo", func(i *core.Invocation) { details <- i.Details; echo(i) })
	t.Run("a result", func(t *testing.T) {
		got, err := call(t, two, &core.Call{Procedure: at("echo"), Payload: payload, Caller: core.Caller{Token: "forged"}})
		if err != nil || string(got.Args) != string(payload.Args) || string(got.Kwargs) != string(payload.Kwargs) {
			t.Fatal(got, err)
		}
		if d := <-details; string(d) != `{"caller":"two@xmpp.test/anybridge","caller_authid":"two@xmpp.test"}` {
			t.Fatal(string(d))
		}
	})
	t.Run("from itself", func(t *testing.T) {
		if _, err := call(t, one, &core.Call{Procedure: address("echo"), Payload: payload, Caller: core.Caller{Token: "shop", User: "ann"}}); err != nil {
			t.Fatal(err)
		}
		if d := <-details; !strings.Contains(string(d), `"caller_token":"shop","caller_user":"ann"`) {
			t.Fatal(string(d))
		}
	})
	t.Run("many at once", func(t *testing.T) {
		errs := make(chan error, 100)
		for n := range cap(errs) {
			go func() {
				got, err := call(t, two, &core.Call{Procedure: at("echo"), Payload: core.Payload{Args: fmt.Appendf(nil, "[%d]", n)}})
				if err == nil && string(got.Args) != fmt.Sprintf("[%d]", n) {
					err = fmt.Errorf("%d: %s", n, got.Args)
				}
				<-details
				errs <- err
			}()
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("errors", func(t *testing.T) {
		serve(t, one, "fail", func(i *core.Invocation) {
			i.Reply(nil, &core.Error{Code: core.Application, URI: "com.shop.sold_out", Message: "none left", Payload: payload})
		})
		_, err := call(t, two, &core.Call{Procedure: at("fail")})
		if e := core.AsError(err); e.Code != core.Application || e.URI != "com.shop.sold_out" || string(e.Args) != string(payload.Args) {
			t.Fatalf("%+v", e)
		}
		if _, err := call(t, two, &core.Call{Procedure: at("nothing")}); core.CodeOf(err) != core.NoSuchProcedure {
			t.Fatal(err)
		}
		if _, err := call(t, two, &core.Call{Procedure: address("nobody@xmpp.test/x!y")}); core.CodeOf(err) != core.Unavailable {
			t.Fatal(err)
		}
		if _, err := one.Register(ctx(t), pattern("fail"), core.RegisterOptions{}); core.CodeOf(err) != core.AlreadyExists {
			t.Fatal(err)
		}
	})
	t.Run("cancel", func(t *testing.T) {
		canceled := make(chan struct{})
		serve(t, one, "slow", func(i *core.Invocation) {
			<-i.Canceled
			close(canceled)
			i.Reply(nil, context.Canceled)
		})
		short, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		if _, err := two.Call(short, &core.Call{Procedure: at("slow")}); core.CodeOf(err) != core.Timeout {
			t.Fatal(err)
		}
		select {
		case <-canceled:
		case <-time.After(patience):
			t.Fatal("the callee does not hear of it")
		}
	})
	t.Run("nobody serves it any more", func(t *testing.T) {
		s, err := one.Register(ctx(t), pattern("short"), core.RegisterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error)
		go func() {
			_, err := call(t, two, &core.Call{Procedure: at("short")})
			failed <- err
		}()
		eventually(t, "a call", func() bool { return status(t, one).Counters["invocations_now"] == 1 })
		_ = s.Close()
		if err := <-failed; core.CodeOf(err) != core.Unavailable {
			t.Fatal(err)
		}
	})
}

func TestCommandsOfOthers(t *testing.T) { onServers(t, testCommandsOfOthers) }

func testCommandsOfOthers(t *testing.T, start xmpptest.Starter) {
	server := start(t)
	b := open(t, section(t, server, "one", nil))
	slix := server.Client(t, "slix")
	us := "one@xmpp.test/anybridge"
	got := make(chan core.Payload, 1)
	serve(t, b, "weather", func(i *core.Invocation) {
		got <- i.Payload
		i.Reply(&core.Result{Payload: core.TextPayload("sunny in Paris")}, nil)
	})

	if nodes := slix.Do(t, "commands", map[string]any{"to": us})["nodes"]; fmt.Sprint(nodes) != "[weather]" {
		t.Fatal(nodes)
	}
	answer := slix.Do(t, "execute", map[string]any{"to": us, "node": "weather", "fields": map[string]any{"args": "Paris\nFrance", "kwargs": `{"days": 3}`}})
	if p := <-got; string(p.Args) != `["Paris","France"]` || string(p.Kwargs) != `{"days":3}` {
		t.Fatalf("%s %s", p.Args, p.Kwargs)
	}
	if answer["status"] != "completed" || !strings.Contains(fmt.Sprint(answer["notes"]), "sunny in Paris") {
		t.Fatal(answer)
	}

	offered := slix.Do(t, "offer", map[string]any{"node": "shout"})
	to, _ := offered["jid"].(string)
	for _, p := range []core.Payload{{Args: json.RawMessage(`["hey"]`)}, {Kwargs: json.RawMessage(`{"text":"hey"}`)}} {
		result, err := call(t, b, &core.Call{Procedure: address(to + "!shout"), Payload: p})
		if err != nil || string(result.Kwargs) != `{"shout":"HEY"}` {
			t.Fatal(result, err)
		}
	}
	_, err := call(t, b, &core.Call{Procedure: address(to + "!shout"), Payload: core.Payload{Kwargs: json.RawMessage(`{"volume":"11"}`)}})
	if core.CodeOf(err) != core.InvalidArgument {
		t.Fatal(err)
	}

	t.Run("not everybody may call", func(t *testing.T) {
		b := open(t, section(t, server, "two", map[string]any{"callers": []string{"one@xmpp.test"}}))
		serve(t, b, "weather", echo)
		answer := slix.Do(t, "iq", map[string]any{"to": "two@xmpp.test/anybridge", "type": "set", "xml": `<command xmlns="http://jabber.org/protocol/commands" node="weather" action="execute"/>`})
		if xml := fmt.Sprint(answer["xml"]); !strings.Contains(xml, "forbidden") {
			t.Fatal(xml)
		}
		if nodes := slix.Do(t, "commands", map[string]any{"to": "two@xmpp.test/anybridge"})["nodes"]; fmt.Sprint(nodes) != "[]" {
			t.Fatal(nodes)
		}
	})
}
