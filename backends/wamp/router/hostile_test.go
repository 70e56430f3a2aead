package router

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// wellFormed has one message of every type, and then some, in JSON; the elements of
// each are put together separately so that they can be exchanged.
func wellFormed() [][]string {
	return [][]string{
		{`1`, `"realm1"`, `{"roles":{"caller":{"features":{"call_canceling":true}}}}`},
		{`2`, `1`, `{}`}, {`3`, `{}`, `"wamp.error.x"`}, {`4`, `"ticket"`, `{}`}, {`5`, `"x"`, `{}`}, {`6`, `{}`, `"wamp.close.normal"`},
		{`8`, `68`, `1`, `{}`, `"com.error"`, `[1]`, `{"a":1}`}, {`8`, `48`, `1`, `{}`, `"com.error"`},
		{`16`, `1`, `{"acknowledge":true}`, `"com.topic"`, `[1]`, `{"a":1}`}, {`17`, `1`, `1`},
		{`32`, `1`, `{"match":"prefix"}`, `"com.topic"`}, {`33`, `1`, `1`}, {`34`, `1`, `1`}, {`35`, `1`}, {`36`, `1`, `1`, `{}`, `[1]`, `{"a":1}`},
		{`48`, `1`, `{"timeout":1000}`, `"com.proc"`, `[1]`, `{"a":1}`}, {`49`, `1`, `{"mode":"kill"}`}, {`50`, `1`, `{}`, `[1]`, `{"a":1}`},
		{`64`, `1`, `{"invoke":"first"}`, `"com.proc"`}, {`65`, `1`, `1`}, {`66`, `1`, `1`}, {`67`, `1`},
		{`68`, `1`, `1`, `{}`, `[1]`, `{"a":1}`}, {`69`, `1`, `{}`}, {`70`, `1`, `{}`, `[1]`, `{"a":1}`},
		{`7`}, {`0`}, {`1000`}, {`-1`},
	}
}

// hostileValues stand where they do not belong.
func hostileValues() []string {
	values := []string{
		`null`, `true`, `0`, `-1`, `1`, `1.5`, `1e300`, `9007199254740993`, `18446744073709551616`, `123456789012345678901234567890`,
		`""`, `"x"`, `"a..b"`, `"wamp.session.count"`, `"wamp."`, `"\u0000AAAA"`, `"com topic"`, `"` + strings.Repeat("x", 5000) + `"`,
		`[]`, `[1]`, `[[[[[[]]]]]]`, `[null]`, strings.Repeat("[", 600) + strings.Repeat("]", 600), `{}`, `{"":""}`, `{"ppt_scheme":"wamp","ppt_serializer":1}`,
	}
	for _, option := range []string{
		"acknowledge", "exclude_me", "disclose_me", "retain", "exclude", "eligible", "exclude_authid", "eligible_authid", "exclude_authrole",
		"eligible_authrole", "match", "get_retained", "invoke", "disclose_caller", "forward_timeout", "progress", "receive_progress", "timeout",
		"mode", "roles", "authmethods", "authid", "ppt_scheme", "ppt_serializer", "exclude_", "eligible_",
	} {
		for _, v := range []string{`null`, `true`, `7`, `-7`, `"x"`, `[]`, `[{}]`, `{}`, `{"a":[]}`} {
			values = append(values, fmt.Sprintf(`{%q:%s}`, option, v))
		}
	}
	return values
}

// hostileMessages puts every value in every place of every message, and cuts
// messages off everywhere.
func hostileMessages() (out []string) {
	values := hostileValues()
	for _, elements := range wellFormed() {
		for i := range elements {
			for _, v := range values {
				e := append([]string{}, elements...)
				e[i] = v
				out = append(out, "["+strings.Join(e, ",")+"]")
			}
		}
		for n := range len(elements) + 1 {
			out = append(out, "["+strings.Join(elements[:n], ",")+"]")
		}
		out = append(out, "["+strings.Join(append(elements, `{}`, `{}`, `{}`, `{}`), ",")+"]")
	}
	return out
}

func TestHostileMessages(t *testing.T) {
	r := start(t, Config{Anonymous: everything()})
	healthy := join(t, r, wsJSON)
	healthy.waits = time.Hour
	healthy.register("com.proc", nil)
	heard := make(chan struct{})
	go func() { // it answers calls, and reads whatever is published meanwhile
		defer close(heard)
		for {
			m, err := healthy.read()
			if err != nil {
				t.Logf("the callee ended: %v", err)
				return
			}
			if inv, ok := m.(*wamp.Invocation); ok {
				healthy.send(&wamp.Yield{Request: inv.Request})
			}
		}
	}()
	messages := hostileMessages()
	trs := transports()
	step := 5
	if testing.Short() {
		step = 50
	}
	var sent, ended atomic.Int64
	var wg sync.WaitGroup
	const workers = 12
	for w := range workers {
		wg.Go(func() {
			h := hostile{t: t, r: r, tr: trs[w%len(trs)]}
			defer h.hangUp()
			for i := w * step; i < len(messages); i += workers * step {
				// The serialisation changes from message to message.
				h.tr = trs[(w+i/workers)%len(trs)]
				frames := [][]byte{}
				if b, err := wire.Convert(nil, wire.JSON, h.tr.ser, []byte(messages[i])); err == nil {
					frames = append(frames, b, b[:len(b)/2], append(b[:len(b):len(b)], 0xff))
				} else {
					frames = append(frames, []byte(messages[i]))
				}
				for _, f := range frames {
					sent.Add(1)
					if !h.try(f) {
						ended.Add(1)
					}
				}
				if i%97 == 0 {
					h.first(frames[0]) // in place of HELLO
					sent.Add(1)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d hostile messages, %d of which ended their session", sent.Load(), ended.Load())
	if want := int64(50_000 / step); sent.Load() < want {
		t.Errorf("only %d hostile messages, want %d", sent.Load(), want)
	}
	p := join(t, r, rsCBOR)
	p.call("com.proc", nil)
	expect[*wamp.Result](p)
	healthy.close()
	<-heard
	p.close()
	eventually(t, "all sessions gone", func() bool { return r.Counters()["connections_now"] == 0 })
}

// hostile is a client that goes on after everything.
type hostile struct {
	t  *testing.T
	r  *Router
	tr transport
	p  *peer
	id wamp.ID
}

// try sends a frame and reports whether the session survived it. Either it does, and
// answers, or it ends: it may not hang.
func (h *hostile) try(frame []byte) bool {
	h.t.Helper()
	if h.p == nil || h.p.tr != h.tr {
		h.hangUp()
		h.p = h.connect()
		h.p.enter(hello("realm1", nil))
		h.id = 1 << 40
	}
	h.id++
	probe, err := wire.Append(nil, h.tr.ser, &wamp.Publish{Request: h.id, Topic: "test.probe", Options: wamp.Dict{"acknowledge": true}})
	if err != nil {
		h.t.Fatal(err)
	}
	if h.p.write(frame) == nil && h.p.write(probe) == nil && h.until(h.id) {
		return true
	}
	h.hangUp()
	return false
}

// first sends a frame as the first message of a connection.
func (h *hostile) first(frame []byte) {
	h.hangUp()
	h.p = h.connect()
	_ = h.p.write(frame)
	if m, err := h.p.read(); err == nil {
		if _, ok := m.(*wamp.Welcome); !ok {
			h.until(0)
		}
	}
	h.hangUp()
}

func (h *hostile) connect() *peer {
	p, err := connect(h.r, h.tr, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	p.t = h.t
	return p
}

// until reads up to the answer to a request, or the end, which is false.
func (h *hostile) until(request wamp.ID) bool {
	for {
		m, err := h.p.read()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				h.t.Error("the router does not answer")
			}
			return false
		}
		if p, ok := m.(*wamp.Published); ok && p.Request == request {
			return true
		}
	}
}

func (h *hostile) hangUp() {
	if h.p != nil {
		h.p.close()
		h.p = nil
	}
}

// A length is only a claim: nothing is allocated for it.
func TestHostileLengths(t *testing.T) {
	r := start(t, Config{Limits: Limits{MaxMessage: maxMessage}})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const connections = 200
	claim := func(tr transport, head []byte) *peer {
		p := dial(t, r, tr)
		p.enter(hello("realm1", nil))
		if _, err := p.conn.Write(head); err != nil {
			t.Fatal(err)
		}
		return p
	}
	frame := func(n uint64) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{frameText, 0x80 | 127}, n), 1, 2, 3, 4, 'x')
	}
	for range connections / 2 {
		claim(rsJSON, []byte{rawMessage, 0xff, 0xff, 0xff, 'x', 'x'}) // 16 MiB
		claim(wsJSON, frame(maxMessage))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > connections*128<<10 {
		t.Errorf("%d connections that claim 16 MiB take %d bytes", connections, grown)
	}
	for _, n := range []uint64{maxMessage + 1, 100 << 20, 1 << 62} {
		claim(wsJSON, frame(n)).aborted(wamp.ErrProtocolViolation, "message too long")
	}
	claim(wsJSON, frame(1<<63)).ended()
	claim(wsJSON, []byte{0x83, 0x80, 1, 2, 3, 4}).aborted(wamp.ErrProtocolViolation, "websocket: ")
	claim(wsJSON, []byte{0x81, 0x01, 'x'}).aborted(wamp.ErrProtocolViolation, "websocket: ") // not masked
	claim(wsJSON, []byte{frameBinary, 0x80, 1, 2, 3, 4}).aborted(wamp.ErrProtocolViolation, "wrong type")
	claim(rsJSON, []byte{7, 0, 0, 0}).aborted(wamp.ErrProtocolViolation, "unknown type")
	join(t, r, rsJSON).sync()
}

// Who floods with pings and does not read the answers is disconnected.
func TestHostilePings(t *testing.T) {
	r := start(t, Config{Limits: Limits{QueueMessages: 1000}})
	p := join(t, r, rsJSON)
	ping := append([]byte{rawPing, 0, 4, 0}, make([]byte, 1024)...)
	flood := make([]byte, 0, 1000*len(ping))
	for range 1000 {
		flood = append(flood, ping...)
	}
	for range 100 {
		if _, err := p.conn.Write(flood); err != nil {
			break
		}
	}
	eventually(t, "disconnected", func() bool { return r.Counters()["slow_subscribers_disconnected"] == 1 })
	join(t, r, rsJSON).sync()
}
