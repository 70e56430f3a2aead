package tests

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestOneFastPublisherReachesEveryoneButWhoDoesNotRead has 200,000 events reach 100
// WebSocket subscribers, all of them in order, and an HTTP app, all of them in any
// order, while one more subscriber does not read.
func TestOneFastPublisherReachesEveryoneButWhoDoesNotRead(t *testing.T) {
	events, subscribers := 200_000, 100
	if testing.Short() {
		events, subscribers = 20_000, 25
	}
	b := startBridge(t, setup{})
	const topic = "com.load.events"
	app := startCounter(t, events)
	b.subscribe(t, object{topic: app.url})

	var wg sync.WaitGroup
	problems := make(chan error, subscribers)
	for n := range subscribers {
		s := joinRaw(t, b)
		s.subscribe(t, topic, object{})
		wg.Go(func() {
			if err := s.readNumbers(events); err != nil {
				problems <- fmt.Errorf("subscriber %d: %w", n, err)
				s.conn.Close()
			}
		})
	}
	// It does not read from here on, and keeps its connection open.
	joinRaw(t, b).subscribe(t, topic, object{})
	publisher := joinRaw(t, b)

	began := time.Now()
	if err := publisher.publishNumbers(topic, events); err != nil {
		t.Fatal(err)
	}
	t.Logf("published after %s", time.Since(began).Round(time.Millisecond))
	wg.Wait()
	took := time.Since(began)
	t.Logf("all subscribers had everything after %s: %.0f deliveries/s", took.Round(time.Millisecond), float64(events*subscribers)/took.Seconds())
	close(problems)
	for err := range problems {
		t.Error(err)
	}
	app.wait(t, began)

	counters := b.status(t).Backends[0].Counters
	// What a short run sends may fit into the buffers of a connection.
	if slow := counters["slow_subscribers_disconnected"]; slow > 1 || slow == 0 && !testing.Short() {
		t.Errorf("slow subscribers disconnected: %d, want 1", slow)
	}
	if counters["events_dropped"] != 0 {
		t.Errorf("events dropped: %d", counters["events_dropped"])
	}
}

// counter is an app that counts the events it is sent, each of which carries its own
// number. It does as little as it can, unlike app.
type counter struct {
	url      string
	seen     []atomic.Bool
	distinct atomic.Int64
	requests atomic.Int64
	bad      atomic.Int64
	all      chan struct{} // closed when every number has come
}

func startCounter(t *testing.T, events int) *counter {
	c := &counter{seen: make([]atomic.Bool, events), all: make(chan struct{})}
	server := httptest.NewServer(c)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	c.url = server.URL + "/"
	return c
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	w.WriteHeader(http.StatusNoContent)
	c.requests.Add(1)
	_, after, _ := bytes.Cut(body, []byte(`"args":[`))
	digits, _, _ := bytes.Cut(after, []byte("]"))
	n, badNumber := strconv.Atoi(string(digits))
	if err != nil || badNumber != nil || n < 0 || n >= len(c.seen) {
		c.bad.Add(1)
		return
	}
	if !c.seen[n].Swap(true) && c.distinct.Add(1) == int64(len(c.seen)) {
		close(c.all)
	}
}

// wait waits until every event has come, as long as some come.
func (c *counter) wait(t *testing.T, began time.Time) {
	t.Helper()
	for before := int64(-1); ; before = c.distinct.Load() {
		select {
		case <-c.all:
			took := time.Since(began)
			t.Logf("the app had everything after %s: %.0f callbacks/s", took.Round(time.Millisecond), float64(c.requests.Load())/took.Seconds())
			if c.bad.Load() > 0 {
				t.Errorf("%d callbacks were no events with a number", c.bad.Load())
			}
			return
		case <-time.After(patience / 2):
			if c.distinct.Load() == before {
				t.Fatalf("the app was sent %d of %d events, and then no more", before, len(c.seen))
			}
		}
	}
}

// rawSession is a WAMP session on a bare WebSocket, which costs so little that many
// of them leave the router its share of a small machine. It speaks JSON.
type rawSession struct {
	conn net.Conn
	r    *bufio.Reader
}

// WebSocket opcodes (RFC 6455, section 5.2).
const (
	opText = 0x1
	opPing = 0x9
	opPong = 0xA
)

// joinRaw joins realm1. The connection is closed when the test ends.
func joinRaw(t *testing.T, b *bridge) *rawSession {
	t.Helper()
	s, err := dialRaw(b.WS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	return s
}

// dialRaw joins realm1.
func dialRaw(address string) (*rawSession, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	conn, err := net.DialTimeout("tcp", u.Host, patience)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	s := &rawSession{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: wamp.2.json\r\n\r\n", u.Path, u.Host)
	resp, err := http.ReadResponse(s.r, nil)
	switch {
	case err != nil:
	case resp.StatusCode != http.StatusSwitchingProtocols:
		err = fmt.Errorf("open WebSocket: %s", resp.Status)
	default:
		_, err = s.exchange(`[1,"realm1",{"roles":{"subscriber":{},"publisher":{},"callee":{}}}]`)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// subscribe subscribes to one topic.
func (s *rawSession) subscribe(t *testing.T, topic string, options object) {
	t.Helper()
	if answer := s.ask(t, string(raw([]any{32, 1, options, topic}))); !strings.HasPrefix(answer, "[33,1,") {
		t.Fatalf("subscribe: %s", answer)
	}
}

// ask sends a message and returns the next one.
func (s *rawSession) ask(t *testing.T, message string) string {
	t.Helper()
	answer, err := s.exchange(message)
	if err != nil {
		t.Fatalf("after %s: %v", message, err)
	}
	return answer
}

// exchange is ask for those who expect that the connection may end.
func (s *rawSession) exchange(message string) (string, error) {
	if err := s.send(message); err != nil {
		return "", err
	}
	answer, err := s.next()
	return string(answer), err
}

func (s *rawSession) send(message string) error {
	_, err := s.conn.Write(appendFrame(nil, opText, []byte(message)))
	return err
}

// appendFrame appends a frame from a client: masked, but with a key of zeros.
func appendFrame(b []byte, opcode byte, payload []byte) []byte {
	b = append(b, 0x80|opcode)
	if len(payload) < 126 {
		b = append(b, 0x80|byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(len(payload)))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// next is the next message. It is valid until the following call.
func (s *rawSession) next() ([]byte, error) {
	for {
		head, err := s.r.Peek(4)
		if err != nil {
			return nil, err
		}
		opcode, skip, size := head[0]&0x0f, 2, int(head[1])
		switch size {
		case 126:
			skip, size = 4, int(binary.BigEndian.Uint16(head[2:]))
		case 127:
			return nil, fmt.Errorf("a frame of more than 64 KiB")
		}
		if _, err := s.r.Discard(skip); err != nil {
			return nil, err
		}
		payload, err := s.r.Peek(size)
		if err != nil {
			return nil, err
		}
		_, _ = s.r.Discard(size)
		switch opcode {
		case opText:
			return payload, nil
		case opPing:
			if _, err := s.conn.Write(appendFrame(nil, opPong, payload)); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("frame of type %d: %q", opcode, payload)
		}
	}
}

// readNumbers reads events whose one argument counts up from 0.
func (s *rawSession) readNumbers(events int) error {
	for want := range events {
		message, err := s.next()
		if err != nil {
			return fmt.Errorf("after %d events: %w", want, err)
		}
		// [36,subscription,publication,{details},[number]]
		begin := bytes.LastIndexByte(message, '[') + 1
		number := bytes.TrimRight(message[begin:], "]")
		if got, err := strconv.Atoi(string(number)); err != nil || got != want || !bytes.HasPrefix(message, []byte("[36,")) {
			return fmt.Errorf("after %d events: %q", want, message)
		}
	}
	return nil
}

// publishNumbers publishes events whose one argument counts up from 0, as fast as the
// router takes them.
func (s *rawSession) publishNumbers(topic string, events int) error {
	w := bufio.NewWriterSize(s.conn, 64<<10)
	var frame, message []byte
	for n := range events {
		message = fmt.Appendf(message[:0], `[16,%d,{},%q,[%d]]`, n+2, topic, n)
		frame = appendFrame(frame[:0], opText, message)
		if _, err := w.Write(frame); err != nil {
			return fmt.Errorf("publish event %d: %w", n, err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	// Whoever is thrown out while publishing reads about it.
	_ = s.conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if b, err := s.r.Peek(1); err == nil {
		rest, _ := io.ReadAll(s.r)
		return fmt.Errorf("the router told its publisher %q%q", b, rest)
	}
	return nil
}
