package xmpp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/xmpp"
	"github.com/anybridge/anybridge/backends/xmpp/xmpptest"
	"github.com/anybridge/anybridge/core"
)

const patience = 30 * time.Second

// onServers runs a test on each make of server.
func onServers(t *testing.T, test func(t *testing.T, start xmpptest.Starter)) {
	t.Parallel()
	for name, start := range xmpptest.Makes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start)
		})
	}
}

// section is a configuration for an account on the server.
func section(t *testing.T, s *xmpptest.Server, name string, more map[string]any) json.RawMessage {
	t.Helper()
	c := map[string]any{
		"jid": s.Account(t, name) + "/anybridge", "password": xmpptest.Password(name),
		"server": s.Addr, "tls": map[string]any{"ca": s.CA},
	}
	for k, v := range more {
		c[k] = v
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// open opens a backend that is closed with the test.
func open(t *testing.T, section json.RawMessage) *xmpp.Backend {
	t.Helper()
	b := xmpp.New(slog.New(slog.NewTextHandler(t.Output(), nil)))
	if _, err := b.Open(context.Background(), section); err != nil {
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

func ctx(t *testing.T) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return c
}

func address(name string) core.Address { return core.Address{Backend: "xmpp", Name: name} }

func pattern(name string) core.Pattern {
	return core.Pattern{Address: address(name), Match: core.Exact}
}

// events reads a subscription one by one.
type events struct {
	t      *testing.T
	stream core.Stream[*core.Event]
	batch  []*core.Event
}

func subscribe(t *testing.T, b *xmpp.Backend, topic string) *events {
	t.Helper()
	s, err := b.Subscribe(ctx(t), pattern(topic))
	if err != nil {
		t.Fatal(err)
	}
	return &events{t: t, stream: s}
}

// next is the next event, gaps included.
func (e *events) next() *core.Event {
	e.t.Helper()
	if len(e.batch) == 0 {
		batch, err := e.stream.Next(ctx(e.t))
		if err != nil {
			e.t.Fatal(err)
		}
		e.batch = append(e.batch, batch...)
	}
	first := e.batch[0]
	e.batch = e.batch[1:]
	return first
}

// none fails if an event comes within a moment.
func (e *events) none() {
	e.t.Helper()
	short, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if len(e.batch) == 0 {
		e.batch, _ = e.stream.Next(short)
	}
	if len(e.batch) > 0 {
		e.t.Fatalf("an event came: %s %+v", e.batch[0].Args, e.batch[0].Gap)
	}
}

func publish(t *testing.T, b *xmpp.Backend, topic, args string) *core.Event {
	t.Helper()
	e := &core.Event{Topic: address(topic), Payload: core.Payload{Args: json.RawMessage(args)}}
	if err := b.Publish(ctx(t), e); err != nil {
		t.Fatalf("publish to %s: %v", topic, err)
	}
	return e
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

func status(t *testing.T, b *xmpp.Backend) core.Status {
	t.Helper()
	s, err := b.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func up(t *testing.T, b *xmpp.Backend) {
	t.Helper()
	eventually(t, "up", func() bool { return status(t, b).State == core.Up })
}

func TestTopics(t *testing.T) { onServers(t, testTopics) }

func testTopics(t *testing.T, start xmpptest.Starter) {
	server := start(t)
	one := open(t, section(t, server, "one", nil))
	two := open(t, section(t, server, "two", nil))
	for _, topic := range []string{"ops@" + xmpptest.Rooms, xmpptest.PubSub + "!orders"} {
		t.Run(topic, func(t *testing.T) {
			mine, theirs := subscribe(t, one, topic), subscribe(t, two, topic)
			for i := range 20 {
				sent := publish(t, one, topic, fmt.Sprintf(`["Bonjour à tous 👋 <b>&amp;", %d, 9007199254740993]`, i))
				got := theirs.next()
				if string(got.Args) != string(sent.Args) || got.Topic.Name != topic {
					t.Fatalf("%d: %s on %s", i, got.Args, got.Topic)
				}
				if sent.ID == "" {
					t.Fatal("no id")
				}
			}
			mine.none()
			publish(t, two, topic, `["and back"]`)
			if got := mine.next(); string(got.Args) != `["and back"]` {
				t.Fatal(string(got.Args))
			}
			theirs.none()
		})
	}
	t.Run("a node's last item is old", func(t *testing.T) {
		late := open(t, section(t, server, "late", nil))
		heard := subscribe(t, late, xmpptest.PubSub+"!orders")
		heard.none()
		publish(t, one, xmpptest.PubSub+"!orders", `["new"]`)
		if got := heard.next(); string(got.Args) != `["new"]` {
			t.Fatal(string(got.Args))
		}
	})
	t.Run("chat", func(t *testing.T) {
		from, inbox := subscribe(t, two, "one@"+xmpptest.Domain), subscribe(t, two, xmpp.Inbox)
		e := &core.Event{Topic: address("two@" + xmpptest.Domain), Via: "r1", Payload: core.Payload{Kwargs: json.RawMessage(`{"text":"hello"}`)}}
		if err := one.Publish(ctx(t), e); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*events{from, inbox} {
			got := s.next()
			if string(got.Kwargs) != `{"text":"hello"}` || got.Via != "r1" || got.Args != nil {
				t.Fatalf("%s %s %q", got.Args, got.Kwargs, got.Via)
			}
			if want := `{"publisher":"one@xmpp.test/anybridge","publisher_authid":"one@xmpp.test","id":`; string(got.Details[:len(want)]) != want {
				t.Fatal(string(got.Details))
			}
		}
	})
}
