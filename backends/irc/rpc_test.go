package irc_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/irc"
	"github.com/anybridge/anybridge/backends/irc/irctest"
	"github.com/anybridge/anybridge/core"
)

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// serve registers a procedure and answers its calls with f until the test ends.
func serve(t *testing.T, b *irc.Backend, name string, f func(inv *core.Invocation)) {
	t.Helper()
	stream, err := b.Register(within(t), core.Pattern{Address: address(name)}, core.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			batch, err := stream.Next(context.Background())
			if err != nil {
				return
			}
			for _, inv := range batch {
				f(inv)
			}
		}
	}()
	t.Cleanup(func() {
		_ = stream.Close()
		<-done
	})
}

func TestCommands(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, s *irctest.Server) {
		b := open(t, config(s, map[string]any{"channels": []any{"#ops"}, "commands": map[string]any{"timeout": "1s", "max_lines": 3, "rate": map[string]any{"burst": 100}}}))
		serve(t, b, "Weather", func(inv *core.Invocation) {
			inv.Reply(&core.Result{Payload: core.TextPayload(string(inv.Args) + " " + string(inv.Kwargs) + " " + string(inv.Details))}, nil)
		})
		serve(t, b, "com.app.fail", func(inv *core.Invocation) {
			inv.Reply(nil, &core.Error{Code: core.Application, Message: "sold out\r\nQUIT :injected", URI: "com.app.sold_out"})
		})
		serve(t, b, "broken", func(inv *core.Invocation) { inv.Reply(nil, core.Errorf(core.Internal, "secret things")) })
		serve(t, b, "long", func(inv *core.Invocation) {
			inv.Reply(&core.Result{Payload: core.TextPayload("!weather\n" + strings.Repeat("x\n", 9))}, nil)
		})
		serve(t, b, "slow", func(inv *core.Invocation) {
			go func() {
				<-inv.Canceled
				inv.Reply(&core.Result{}, nil)
			}()
		})
		serve(t, b, "nothing", func(inv *core.Invocation) { inv.Reply(&core.Result{}, nil) })

		alice := irctest.Dial(t, s.Addr, "alice")
		alice.Join("#ops")
		for command, want := range map[string]string{
			`!weather Paris "New York" 3 unit=c note="a b"`: `PRIVMSG #ops :alice: \["Paris","New York",3\] \{"note":"a b","unit":"c"\} \{"caller":"alice",.*"channel":"#ops"\}$`,
			`!WEATHER`:           `PRIVMSG #ops :alice: \[\]  \{`,
			`!com.app.fail`:      `PRIVMSG #ops :alice: error: sold out$`,
			`!broken`:            `PRIVMSG #ops :alice: error: it failed$`,
			`!slow`:              `PRIVMSG #ops :alice: error: it took too long$`,
			`!nothing`:           `PRIVMSG #ops :alice: ok$`,
			`!weather "unclosed`: `PRIVMSG #ops :alice: a quotation mark is not closed$`,
			`!help`:              `PRIVMSG #ops :alice: commands: !broken !com.app.fail !long !nothing !slow !weather \(!help NAME`,
			`!help weather`:      `PRIVMSG #ops :alice: !weather WORD .* calls irc:Weather$`,
		} {
			alice.Send("PRIVMSG #ops :%s", command)
			alice.Expect(want)
		}
		alice.Send("PRIVMSG #ops :!long")
		for _, want := range []string{"!weather", "x", "x", `… \(7 lines more\)`} {
			alice.Expect(`PRIVMSG #ops :alice: ` + want + `$`)
		}
		alice.Send("PRIVMSG bridge :!weather x")
		alice.Expect(`NOTICE alice :\["x"\]  \{"caller":"alice","source":"[^"]*"\}$`)
		alice.Send("PRIVMSG bridge :!unknown")
		alice.Expect(`NOTICE alice :there is no command unknown; try !help`)
		alice.Send("NOTICE #ops :!weather")
		alice.Send("PRIVMSG #ops :!unknown")
		alice.Send("PRIVMSG #ops :!help nothing")
		if line := alice.Expect(`PRIVMSG #ops :alice: `); !strings.Contains(line, "calls irc:nothing") {
			t.Errorf("answered: %s", line)
		}
	})
}

func TestRegisterNames(t *testing.T) {
	t.Parallel()
	s := irctest.StartNgIRCd(t)
	b := open(t, config(s, nil))
	serve(t, b, "weather", func(*core.Invocation) {})
	for name, want := range map[string]core.Code{
		"WEATHER": core.AlreadyExists, "help": core.AlreadyExists, "two words": core.InvalidArgument, "a=b": core.InvalidArgument,
		`"q"`: core.InvalidArgument, "!x": core.InvalidArgument,
	} {
		if _, err := b.Register(t.Context(), core.Pattern{Address: address(name)}, core.RegisterOptions{}); core.CodeOf(err) != want {
			t.Errorf("register %q: %v", name, err)
		}
	}
	_, err := b.Register(t.Context(), core.Pattern{Address: address("x"), Match: core.Prefix}, core.RegisterOptions{})
	if core.CodeOf(err) != core.Unimplemented {
		t.Error(err)
	}
	if _, err := b.Call(t.Context(), &core.Call{Procedure: address("x")}); core.CodeOf(err) != core.Unimplemented {
		t.Error(err)
	}
}

func TestCommandLimits(t *testing.T) {
	t.Parallel()
	s := irctest.StartInspIRCd(t, irctest.Options{})
	b := open(t, config(s, map[string]any{"channels": []any{"#ops"}, "commands": map[string]any{"concurrent": 2, "rate": map[string]any{"burst": 4, "interval": "1h"}}}))
	answers := make(chan *core.Invocation, 10)
	serve(t, b, "wait", func(inv *core.Invocation) { answers <- inv })
	alice := irctest.Dial(t, s.Addr, "alice")
	alice.Join("#ops")
	for range 3 {
		alice.Send("PRIVMSG #ops :!wait")
	}
	alice.Expect("alice: too many commands are under way")
	first, second := <-answers, <-answers
	alice.Send("NICK alicia")
	alice.Expect("NICK")
	alice.Send("PRIVMSG #ops :x") // so that the bridge has seen the new nick when it answers
	eventually(t, "the call goes on", func() bool { return state(t, b).Counters["invocations_now"] == 2 })
	time.Sleep(50 * time.Millisecond)
	first.Reply(&core.Result{Payload: core.TextPayload("done")}, nil)
	alice.Expect("alicia: done")
	alice.Send("PRIVMSG #ops :!help") // the fourth command
	alice.Expect("alicia: commands")
	alice.Send("PRIVMSG #ops :!help")
	alice.Expect("alicia: not so fast")
	alice.Send("PRIVMSG #ops :!help")
	alice.Send("QUIT")
	select {
	case <-second.Canceled:
	case <-time.After(30 * time.Second):
		t.Error("the caller has left, and the call goes on")
	}
	second.Reply(nil, nil)
	if n := state(t, b).Counters["commands_refused"]; n != 3 {
		t.Errorf("%d commands refused", n)
	}
}

func TestUnregisterAnswers(t *testing.T) {
	t.Parallel()
	s := irctest.StartInspIRCd(t, irctest.Options{})
	b := open(t, config(s, map[string]any{"channels": []any{"#ops"}}))
	stream, err := b.Register(t.Context(), core.Pattern{Address: address("late")}, core.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	alice := irctest.Dial(t, s.Addr, "alice")
	alice.Send("PRIVMSG bridge :!late")
	eventually(t, "the call waits", func() bool { return state(t, b).Counters["invocations_now"] == 1 })
	_ = stream.Close()
	alice.Expect("NOTICE alice :error: not available now")
	if _, err := stream.Next(t.Context()); err == nil {
		t.Error("a closed stream goes on")
	}
}
