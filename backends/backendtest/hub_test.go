package backendtest_test

import (
	"encoding/json"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// hub is the message system of the suite's own tests: a server that speaks JSON
// messages over TCP. Everything happens under one lock, in one order.
type hub struct {
	addr string

	mu       sync.Mutex
	listener net.Listener
	clients  map[*hubClient]bool
	subs     []hubSub
	regs     []hubReg
	retained map[string]message
	calls    map[string]hubCall
	lastID   int
	turn     int
	wg       sync.WaitGroup
}

type hubClient struct {
	conn net.Conn
	out  *core.Pipe[message]
}

type hubSub struct {
	client *hubClient
	match  core.Match
	name   string
}

type hubReg struct {
	hubSub
	invoke string
}

type hubCall struct {
	caller, callee *hubClient
	id             string // the caller's
}

// message is what the hub and its clients say to each other.
type message struct {
	Op     string          `json:"op"`
	ID     string          `json:"id,omitempty"`
	Name   string          `json:"name,omitempty"`
	Match  core.Match      `json:"match,omitempty"`
	As     string          `json:"as,omitempty"` // the pattern's name, of an event or invocation
	Invoke string          `json:"invoke,omitempty"`
	Retain bool            `json:"retain,omitempty"`
	Args   json.RawMessage `json:"args,omitempty"`
	Kwargs json.RawMessage `json:"kwargs,omitempty"`
	Code   core.Code       `json:"code,omitempty"`
	Text   string          `json:"text,omitempty"`
	URI    string          `json:"uri,omitempty"`
}

func startHub(t testing.TB) *hub {
	h := &hub{addr: "127.0.0.1:0"}
	h.start(t)
	t.Cleanup(func() { h.kill(t) })
	return h
}

func (h *hub) start(t testing.TB) {
	l, err := net.Listen("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	h.listener, h.addr = l, l.Addr().String()
	h.clients, h.subs, h.regs = map[*hubClient]bool{}, nil, nil
	h.retained, h.calls = map[string]message{}, map[string]hubCall{}
	h.mu.Unlock()
	h.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			h.wg.Go(func() { h.serve(conn) })
		}
	})
}

func (h *hub) kill(testing.TB) {
	h.mu.Lock()
	_ = h.listener.Close()
	for c := range h.clients {
		_ = c.conn.(*net.TCPConn).SetLinger(0)
		_ = c.conn.Close()
		c.out.End(nil)
	}
	h.mu.Unlock()
	h.wg.Wait()
}

func (h *hub) serve(conn net.Conn) {
	c := &hubClient{conn: conn, out: core.NewPipe[message](0, 0, nil)}
	h.mu.Lock()
	h.clients[c] = true
	h.mu.Unlock()
	h.wg.Go(func() { writeAll(conn, c.out) })
	in := json.NewDecoder(conn)
	for {
		var m message
		if in.Decode(&m) != nil {
			break
		}
		h.mu.Lock()
		h.handle(c, m)
		h.mu.Unlock()
	}
	h.mu.Lock()
	h.leave(c)
	h.mu.Unlock()
	c.out.End(nil)
	_ = conn.Close()
}

// leave forgets a client. h.mu is held.
func (h *hub) leave(c *hubClient) {
	delete(h.clients, c)
	h.subs = slices.DeleteFunc(h.subs, func(s hubSub) bool { return s.client == c })
	h.regs = slices.DeleteFunc(h.regs, func(r hubReg) bool { return r.client == c })
	for id, call := range h.calls {
		if call.callee == c {
			delete(h.calls, id)
			call.caller.send(message{Op: "reply", ID: call.id, Code: core.Unavailable, Text: "the callee has gone"})
		}
	}
}

func (c *hubClient) send(m message) { c.out.TryPut(m, 1) }

// handle does what a client asks. h.mu is held.
func (h *hub) handle(c *hubClient, m message) {
	h.lastID++
	id := strconv.Itoa(h.lastID)
	ok := message{Op: "reply", ID: m.ID}
	p := core.Pattern{Address: core.Address{Name: m.Name}, Match: m.Match}
	switch m.Op {
	case "publish":
		for _, s := range h.subs {
			if s.client != c && s.covers(m.Name) {
				s.client.send(message{Op: "event", ID: id, Name: m.Name, Match: s.match, As: s.name, Args: m.Args, Kwargs: m.Kwargs})
			}
		}
		if m.Retain {
			h.retained[m.Name] = m
		}
		ok.Text = id
		c.send(ok)
	case "subscribe":
		h.subs = append(h.subs, hubSub{c, m.Match, m.Name})
		c.send(ok)
		for _, r := range h.retained {
			if p.Matches(core.Address{Name: r.Name}) {
				c.send(message{Op: "event", ID: id, Name: r.Name, Match: m.Match, As: m.Name, Args: r.Args, Kwargs: r.Kwargs})
			}
		}
	case "unsubscribe":
		h.subs = slices.DeleteFunc(h.subs, func(s hubSub) bool { return s == hubSub{c, m.Match, m.Name} })
		c.send(ok)
	case "register":
		for _, r := range h.regs {
			if r.match == m.Match && r.name == m.Name && (r.invoke != m.Invoke || m.Invoke == "single") {
				ok.Code, ok.Text = core.AlreadyExists, "somebody else has it"
			}
		}
		if ok.Code == "" {
			h.regs = append(h.regs, hubReg{hubSub{c, m.Match, m.Name}, m.Invoke})
		}
		c.send(ok)
	case "unregister":
		h.regs = slices.DeleteFunc(h.regs, func(r hubReg) bool { return r.hubSub == hubSub{c, m.Match, m.Name} })
		c.send(ok)
	case "call":
		h.call(c, m, id)
	case "cancel":
		for id, call := range h.calls {
			if call.caller == c && call.id == m.ID {
				delete(h.calls, id)
				call.callee.send(message{Op: "cancel", ID: id})
			}
		}
	case "answer":
		if call, waiting := h.calls[m.ID]; waiting {
			delete(h.calls, m.ID)
			m.Op, m.ID = "reply", call.id
			call.caller.send(m)
		}
	}
}

func (h *hub) call(c *hubClient, m message, id string) {
	var able []hubReg
	for _, r := range h.regs {
		if r.covers(m.Name) {
			able = append(able, r)
		}
	}
	if len(able) == 0 {
		c.send(message{Op: "reply", ID: m.ID, Code: core.NoSuchProcedure, Text: "nobody has " + m.Name})
		return
	}
	r := able[0]
	switch r.invoke {
	case "last":
		r = able[len(able)-1]
	case "roundrobin":
		h.turn++
		r = able[h.turn%len(able)]
	}
	h.calls[id] = hubCall{caller: c, callee: r.client, id: m.ID}
	r.client.send(message{Op: "invocation", ID: id, Name: m.Name, Match: r.match, As: r.name, Args: m.Args, Kwargs: m.Kwargs})
}

func (s hubSub) covers(name string) bool {
	return core.Pattern{Address: core.Address{Name: s.name}, Match: s.match}.Matches(core.Address{Name: name})
}

// writeAll writes what is put into the pipe until that or the connection ends.
func writeAll(conn net.Conn, out *core.Pipe[message]) {
	w := json.NewEncoder(conn)
	for {
		batch, err := out.Next(testingContext)
		if err != nil {
			return
		}
		for _, m := range batch {
			_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if w.Encode(m) != nil {
				_ = conn.Close()
				return
			}
		}
	}
}
