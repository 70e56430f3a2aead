package redis_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	goredis "github.com/redis/go-redis/v9"

	"github.com/anybridge/anybridge/backends/redis/redistest"
	"github.com/anybridge/anybridge/core"
)

// hostile makes inputs that have broken others: control characters, half UTF-8, forged
// envelopes and commands, deep and broken JSON.
func hostile(r *rand.Rand) string {
	parts := []string{
		"\r\n", "\x00", "\x1b[2J", "\xff\xfe", "\xc3", "\xed\xa0\x80", "\u2028", "*3\r\n$7\r\nPUBLISH\r\n", "$-1\r\n", "+OK\r\n", "-ERR x\r\n",
		`{"args":`, `"kwargs":`, `{"id":"`, `"from":"`, `"reply_to":"`, `"reply_to":"rpc:reply:x"`, `"deadline":-1`, `"deadline":9e99`, `"error":"e"`,
		`[`, `]`, `{`, `}`, `,`, `:`, `"`, `\`, `\ud800`, `null`, `1e999`, `-0`, `true`, " ", "\n", "x", "args", "FLUSHALL\r\n", "%s%n", "'; --",
	}
	switch r.IntN(20) {
	case 0:
		return strings.Repeat("[", r.IntN(20_000))
	case 1:
		n := r.IntN(12_000)
		return strings.Repeat("[", n) + strings.Repeat("]", n)
	case 2:
		return `{"args":[` + strings.Repeat(`{"a":`, r.IntN(3000)) + "1"
	case 3:
		return strings.Repeat("A", r.IntN(100_000))
	case 4:
		b := make([]byte, r.IntN(300))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	case 5:
		return fmt.Sprintf(`{"id":%q,"args":[%d],"kwargs":{},"from":"redis_x","via":%q}`, strings.Repeat("i", r.IntN(600)), r.Int(), strings.Repeat("v", r.IntN(600)))
	}
	var b strings.Builder
	for range r.IntN(12) {
		b.WriteString(parts[r.IntN(len(parts))])
	}
	return b.String()
}

func TestHostileInput(t *testing.T) {
	t.Parallel()
	const n = 10_000
	s := redistest.Start(t)
	b := open(t, s.URL(), streams(nil), settings{"format_by_prefix": settings{"h.json": "json", "h.text": "text"}})
	in, entries := subscribe(t, b, "h", core.Prefix), subscribe(t, b, "orders", core.Exact)
	serve(t, b, "p", func(inv *core.Invocation) {
		valid(t, inv.Payload, inv.Details)
		echo(inv)
	})
	client := goredis.NewClient(&goredis.Options{Addr: s.Addr, Protocol: 2})
	defer client.Close()
	s.CLI("SET", "precious", "1")
	r := rand.New(rand.NewPCG(1, 2))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := 0; i < n; i += 100 {
			_, err := client.Pipelined(patient(t), func(p goredis.Pipeliner) error {
				for range 100 {
					x := hostile(r)
					p.Publish(patient(t), []string{"h", "h.json", "h.text", "h" + hostile(r)}[r.IntN(4)], x)
					p.XAdd(patient(t), &goredis.XAddArgs{Stream: "orders", Values: []any{hostile(r), hostile(r), []string{"args", "kwargs", "from", "text", "json"}[r.IntN(5)], x}})
					p.RPush(patient(t), "rpc:call:p", x)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		client.Publish(patient(t), "h", "end")
		client.XAdd(patient(t), &goredis.XAddArgs{Stream: "orders", Values: []any{"end", ""}})
	}()
	until := func(in core.Stream[*core.Event], end string) (got int) {
		for {
			events, err := next(t, patient(t), in)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				got++
				valid(t, e.Payload, e.Details)
				if err := e.Topic.Valid(); err != nil || !utf8.ValidString(e.Via) || !utf8.ValidString(e.ID) {
					t.Errorf("%v %q %q", err, e.Via, e.ID)
				}
				if string(e.Args)+string(e.Kwargs) == end {
					return got
				}
			}
		}
	}
	if got := until(in, `["end"]`); got < n/2 {
		t.Errorf("%d of %d messages came", got, n)
	}
	if got := until(entries, `{"end":""}`); got < n/2 {
		t.Errorf("%d of %d entries came", got, n)
	}
	<-sent
	redistest.Eventually(t, "the requests are gone through", func() bool { return s.CLI("LLEN", "rpc:call:p") == "0" })
	if _, err := b.Call(patient(t), call("p", `[1]`)); err != nil {
		t.Error(err)
	}
	if s.CLI("GET", "precious") != "1" {
		t.Error("somebody has deleted a key")
	}
}

// valid checks that a payload is what everybody downstream relies on, also when it is
// wrapped.
func valid(t testing.TB, p core.Payload, details json.RawMessage) {
	t.Helper()
	var list []json.RawMessage
	var object map[string]json.RawMessage
	if p.Args != nil && (json.Unmarshal(p.Args, &list) != nil || !utf8.Valid(p.Args)) {
		t.Errorf("args %.100q", p.Args)
	}
	if p.Kwargs != nil && (json.Unmarshal(p.Kwargs, &object) != nil || !utf8.Valid(p.Kwargs)) {
		t.Errorf("kwargs %.100q", p.Kwargs)
	}
	if details != nil && json.Unmarshal(details, &object) != nil {
		t.Errorf("details %.100q", details)
	}
	if !json.Valid([]byte(p.JSON())) {
		t.Errorf("payload %.100q", p.JSON())
	}
}

// What goes out is what was given: an independent client sees the bytes, and no command
// among them is executed.
func TestHostileOutput(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(), streams(nil), settings{"format": "text"})
	client := goredis.NewClient(&goredis.Options{Addr: s.Addr, Protocol: 2})
	defer client.Close()
	sub := client.PSubscribe(patient(t), "*")
	defer sub.Close()
	if _, err := sub.Receive(patient(t)); err != nil {
		t.Fatal(err)
	}
	s.CLI("SET", "precious", "1")
	r := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		text := strings.ToValidUTF8(hostile(r), "?")
		if len(text) > 5000 {
			text = text[:5000]
			text = strings.ToValidUTF8(text, "?")
		}
		name := strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r == '\u2028' || r == 0x85 {
				return '_'
			}
			return r
		}, "t"+strings.ToValidUTF8(hostile(r), "?"))
		name = strings.ToValidUTF8(name[:min(len(name), core.MaxNameLen)], "")
		e := &core.Event{ID: "e", Topic: topic(name), Payload: core.TextPayload(text)}
		if e.Topic.Valid() != nil {
			continue
		}
		publish(t, b, e)
		m, err := sub.ReceiveMessage(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		if m.Channel != name || m.Payload != text {
			t.Fatalf("sent %q to %q, got %q on %q", text, name, m.Payload, m.Channel)
		}
	}
	if s.CLI("GET", "precious") != "1" {
		t.Error("an injected command was executed")
	}
}
