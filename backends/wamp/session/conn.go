package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
)

// conn is one joined WAMP session on one link. It ends with the link and is never
// used again.
type conn struct {
	s       *Session
	link    Link
	id      wamp.ID
	details wamp.Dict // of WELCOME

	// turn is held while a request is sent, because request ids rise by one in the
	// order of the messages (WAMP specification, "IDs"); it guards last.
	turn chan struct{}
	last wamp.ID

	// notes are messages that nobody waits to send: answers to invocations, CANCEL.
	// There are no more of them than of open requests.
	notes     *core.Pipe[wamp.Message]
	notesDone chan struct{} // closed when the last one has been sent

	mu      sync.Mutex // guards what follows; never held across I/O
	pending map[wamp.ID]*request
	subs    map[wamp.ID]*subscription
	regs    map[wamp.ID]*registration
	open    map[wamp.ID]*invocation
	drained chan struct{} // closed when open becomes empty; nil if nobody waits
	err     error         // why it ended

	done    chan struct{} // closed when it has ended
	noCalls chan struct{} // closed when calls in flight are given up
	wg      sync.WaitGroup
}

// request is a message that wants an answer.
type request struct {
	// build makes the message for the next request id.
	build func(id wamp.ID) wamp.Message
	// accept, if not nil, is run by the dispatcher before the answer is handed over,
	// and before anything that the router sent after it is looked at; also when
	// nobody waits for it any more. It must not block.
	accept func(wamp.Message)
	// abandon, if not nil, is told the id when nobody waits for the answer any more.
	abandon func(id wamp.ID)
	call    bool // it is a CALL

	answer chan wamp.Message // of capacity 1
}

func newConn(s *Session, link Link, welcome *wamp.Welcome) *conn {
	c := &conn{
		s: s, link: link, id: welcome.ID, details: welcome.Details,
		turn:    make(chan struct{}, 1),
		notes:   core.NewPipe[wamp.Message](0, 0, nil),
		pending: map[wamp.ID]*request{},
		subs:    map[wamp.ID]*subscription{},
		regs:    map[wamp.ID]*registration{},
		open:    map[wamp.ID]*invocation{},
		done:    make(chan struct{}),

		noCalls:   make(chan struct{}),
		notesDone: make(chan struct{}),
	}
	c.wg.Go(c.dispatch)
	c.wg.Go(c.sendNotes)
	return c
}

// do sends a request and returns the answer to it. The error is a *core.Error; an
// ERROR from the router is read by the table.
func (c *conn) do(ctx context.Context, r *request) (wamp.Message, error) {
	r.answer = make(chan wamp.Message, 1)
	id, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	var ended <-chan struct{} // of calls, when the session is being closed
	if r.call {
		ended = c.noCalls
	}
	select {
	case msg := <-r.answer:
		return c.read(msg)
	case <-ctx.Done():
		if r.accept == nil {
			c.forget(id)
		}
		if r.abandon != nil {
			r.abandon(id)
		}
		return nil, core.AsError(ctx.Err())
	case <-ended:
	case <-c.done:
	}
	select {
	case msg := <-r.answer:
		return c.read(msg)
	default:
	}
	if err := c.end(); err != nil {
		return nil, c.s.unavailable(err)
	}
	return nil, core.Errorf(core.Unavailable, "the session is being closed")
}

// read returns an answer, or the error that it is.
func (c *conn) read(msg wamp.Message) (wamp.Message, error) {
	if m, ok := msg.(*wamp.Error); ok {
		return nil, c.s.errors.read(m)
	}
	return msg, nil
}

// send gives the request its id and sends it.
func (c *conn) send(ctx context.Context, r *request) (wamp.ID, error) {
	if ctx.Err() != nil {
		return 0, core.AsError(ctx.Err())
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, core.AsError(ctx.Err())
	case <-c.done:
		return 0, c.s.unavailable(c.end())
	}
	defer func() { <-c.turn }()
	id := c.last + 1
	if id > wamp.MaxID {
		id = 1
	}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return 0, c.s.unavailable(c.err)
	}
	c.pending[id] = r
	c.mu.Unlock()
	if err := c.link.Send(ctx, r.build(id)); err != nil {
		c.forget(id)
		return 0, c.sendError(ctx, err)
	}
	c.last = id
	return id, nil
}

func (c *conn) sendError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return core.AsError(ctx.Err())
	}
	if e, ok := errors.AsType[*core.Error](err); ok {
		return e
	}
	return c.s.unavailable(err)
}

func (c *conn) forget(id wamp.ID) {
	c.mu.Lock()
	delete(c.pending, id)
	c.mu.Unlock()
}

// prepare converts a payload to what the link writes, outside of the turn.
func (c *conn) prepare(p *wire.Payload) error {
	link, ok := c.link.(serializing)
	if !ok || p == nil {
		return nil
	}
	if _, err := p.Args(link.Serialization()); err != nil {
		return core.Errorf(core.InvalidArgument, "convert payload: %w", err)
	}
	return nil
}

// note sends a message without waiting.
func (c *conn) note(msg wamp.Message) { c.notes.TryPut(msg, 0) }

// sendNotes sends what note was given, until the notes are ended.
func (c *conn) sendNotes() {
	defer close(c.notesDone)
	for {
		batch, err := c.notes.Next(context.Background())
		if err != nil {
			return
		}
		for _, msg := range batch {
			err := c.link.Send(context.Background(), msg)
			if err == nil {
				continue
			}
			if y, ok := msg.(*wamp.Yield); ok { // too large, most likely: the caller should know
				_ = c.link.Send(context.Background(), c.s.errors.write(y.Request, err))
			} else if e, ok := msg.(*wamp.Error); ok {
				_ = c.link.Send(context.Background(), &wamp.Error{Type: e.Type, Request: e.Request, Details: wamp.Dict{}, Error: e.Error})
			}
		}
	}
}

// dispatch reads what the router sends until the link ends. Nothing it does waits
// for anybody.
func (c *conn) dispatch() {
	for {
		batch, err := c.link.Receive(context.Background())
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the router closed the connection")
			}
			c.fail(err)
			return
		}
		for _, msg := range batch {
			if err := c.handle(msg); err != nil {
				c.fail(err)
				return
			}
		}
	}
}

// handle acts on one message; an error ends the session.
func (c *conn) handle(msg wamp.Message) error {
	switch m := msg.(type) {
	case *wamp.Event:
		c.event(m)
	case *wamp.Result:
		if progress, _ := m.Details["progress"].(bool); !progress { // never asked for
			c.answered(m.Request, m)
		}
	case *wamp.Invocation:
		c.invocation(m)
	case *wamp.Interrupt:
		c.interrupt(m)
	case *wamp.Error:
		c.answered(m.Request, m)
	case *wamp.Published:
		c.answered(m.Request, m)
	case *wamp.Subscribed:
		c.answered(m.Request, m)
	case *wamp.Unsubscribed:
		c.answered(m.Request, m)
	case *wamp.Registered:
		c.answered(m.Request, m)
	case *wamp.Unregistered:
		c.answered(m.Request, m)
	case *wamp.Goodbye:
		if m.Reason == wamp.CloseGoodbyeAndOut {
			return core.Errorf(core.Unavailable, "the session has left the realm")
		}
		c.note(&wamp.Goodbye{Reason: wamp.CloseGoodbyeAndOut, Details: wamp.Dict{}})
		return core.Errorf(core.Unavailable, "the router ended the session: %s", m.Reason)
	case *wamp.Abort:
		text, _ := wamp.AsString(m.Details["message"])
		return core.Errorf(core.Unavailable, "the router aborted the session: %s %s", m.Reason, clip(text))
	case *damaged:
		c.s.count.damaged.Add(1)
		c.s.limitedWarn("message dropped", slog.String("kind", m.kind.String()), slog.Any("error", m.err))
	default:
		return core.Errorf(core.Unavailable, "the router sent %s to a client", msg.MessageType())
	}
	return nil
}

// answered hands an answer to the one who waits for it, if anybody does.
func (c *conn) answered(id wamp.ID, msg wamp.Message) {
	c.mu.Lock()
	r := c.pending[id]
	delete(c.pending, id)
	c.mu.Unlock()
	if r == nil {
		return
	}
	if r.accept != nil {
		r.accept(msg)
	}
	r.answer <- msg
}

// fail ends the conn: whoever waits gets Unavailable, open invocations are
// canceled. Only the first reason counts.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	open := c.open
	c.open = map[wamp.ID]*invocation{}
	if c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
	c.mu.Unlock()
	close(c.done)
	for _, inv := range open {
		inv.lose()
	}
	c.notes.End(nil)
}

// end is why the conn ended.
func (c *conn) end() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// cancelCalls cancels the calls in flight; they fail with Unavailable.
func (c *conn) cancelCalls() {
	c.mu.Lock()
	for id, r := range c.pending {
		if r.call {
			c.note(cancelMessage(id))
		}
	}
	c.mu.Unlock()
	close(c.noCalls)
}

// leave says GOODBYE and waits for the router's, until ctx ends.
func (c *conn) leave(ctx context.Context) {
	c.notes.End(nil)
	select {
	case <-c.notesDone:
	case <-ctx.Done():
		return
	}
	if c.link.Send(ctx, &wamp.Goodbye{Reason: wamp.CloseRealm, Details: wamp.Dict{}}) != nil {
		return
	}
	select {
	case <-c.done:
	case <-ctx.Done():
	}
}

// close ends the conn, when what has been noted is sent or a moment has passed,
// and releases it.
func (c *conn) close(reason error) {
	c.fail(reason)
	moment := time.NewTimer(flushTimeout)
	defer moment.Stop()
	select {
	case <-c.notesDone:
	case <-moment.C:
	}
	_ = c.link.Close()
	c.wg.Wait()
}
