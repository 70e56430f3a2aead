package stream

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/core"
)

// Client is a stream that is kept alive. Its methods may be called concurrently.
type Client struct {
	o      Options
	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{} // there is something to write

	mu      sync.Mutex
	up      bool
	state   core.State
	reason  string
	jid     jid.JID       // as bound
	since   time.Time     // when the session began
	changed chan struct{} // closed when up changes
	ended   chan struct{} // see Ended
	tried   chan struct{} // see Tried
	maxSend int

	queue   []*Sent // to be written
	unacked []*Sent // written, in order
	bytes   int     // of both
	acked   uint32  // how many stanzas of the session the other side has
	in      uint32  // how many of its stanzas we have
	managed bool
	ackDue  bool
	session smSession
	giveUp  *time.Timer

	requests map[string]*request
	lastID   uint64
	prefix   string
	counters map[string]int64
}

// New makes a client and starts it.
func New(o Options) *Client {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Client{
		o: o, cancel: cancel, done: make(chan struct{}), wake: make(chan struct{}, 1),
		state: core.Connecting, reason: "not connected yet", changed: make(chan struct{}), ended: make(chan struct{}), tried: make(chan struct{}),
		requests: map[string]*request{}, prefix: newPrefix(), counters: map[string]int64{},
	}
	go c.run(ctx)
	return c
}

func (c *Client) newReader(conn net.Conn) *reader {
	return newReader(&idle{Conn: conn, wait: 2 * c.o.Keepalive}, negotiateLimit)
}

// run keeps a connection until ctx ends.
func (c *Client) run(ctx context.Context) {
	defer close(c.done)
	var pause backoff
	for ctx.Err() == nil {
		c.mu.Lock()
		resume, h := c.session.id, c.in
		c.mu.Unlock()
		l, err := c.connect(ctx, resume, h)
		if err == nil {
			began := time.Now()
			err = c.serve(ctx, l)
			const settled = 30 * time.Second
			if time.Since(began) > settled {
				pause = backoff{}
			}
			c.lost(err)
		}
		if ctx.Err() != nil {
			break
		}
		wait := pause.next(err)
		c.failing(err, wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	c.drop("the backend is closed")
}

// serve runs a connection until it ends, and says why.
func (c *Client) serve(ctx context.Context, l *link) error {
	ctx, cancel := context.WithCancelCause(ctx)
	if err := c.begin(l); err != nil {
		cancel(nil)
		_ = l.conn.Close()
		return err
	}
	var writer sync.WaitGroup
	writer.Go(func() {
		cancel(c.write(ctx, l))
		c.bye(l, context.Cause(ctx))
	})
	err := c.read(l)
	cancel(err)
	writer.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = cause // the writer may have been first
	}
	return err
}

// begin makes the connection the current one.
func (c *Client) begin(l *link) error {
	if !l.resumed {
		c.drop("the connection was lost and could not be resumed: whether it arrived is not known")
	}
	c.mu.Lock()
	if l.resumed {
		n := int(l.h - c.acked)
		if n > len(c.unacked) {
			n = len(c.unacked) // some were given up
		}
		c.settle(n)
		c.acked = l.h
		c.queue = append(c.unacked[:len(c.unacked):len(c.unacked)], c.queue...)
		c.unacked = nil
		c.counters["sessions_resumed"]++
	} else {
		c.jid, c.acked, c.in, c.session, c.since = l.jid, 0, 0, l.session, time.Now()
		c.counters["sessions_started"]++
	}
	if c.giveUp != nil {
		c.giveUp.Stop()
		c.giveUp = nil
	}
	c.managed, c.ackDue = l.managed, false
	c.maxSend = c.o.MaxSend
	if l.maxSend > 0 {
		c.maxSend = min(c.maxSend, l.maxSend)
	}
	c.mu.Unlock()
	if l.resumed {
		c.o.OnResumed()
	} else {
		c.o.OnFresh()
	}
	c.mu.Lock()
	c.setUp(true)
	c.triedOnce()
	c.state, c.reason = core.Up, ""
	c.mu.Unlock()
	c.o.Log.Info("xmpp connected", slog.String("jid", c.JID().String()), slog.Bool("resumed", l.resumed), slog.Bool("stream_management", l.managed))
	for _, e := range l.early {
		if err := c.take(e); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.in -= uint32(len(l.early)) // the server began to count after them
	c.mu.Unlock()
	return nil
}

// read takes what comes in until the connection ends.
func (c *Client) read(l *link) error {
	for {
		e, err := l.r.next()
		if err != nil {
			return err
		}
		if err := c.take(e); err != nil {
			return err
		}
	}
}

func (c *Client) take(e *Element) error {
	switch {
	case e.Is(nsSM, "r"):
		c.mu.Lock()
		c.ackDue = true
		c.mu.Unlock()
		signal(c.wake)
	case e.Is(nsSM, "a"):
		return c.acknowledged(e.Attr("h"))
	case e.Is(nsStream, "error"):
		return streamError(e)
	case e.Name.Space == nsClient:
		if e.Name.Local != "iq" || !c.answered(e) {
			c.o.OnStanza(e)
		}
		c.mu.Lock()
		c.in++
		c.mu.Unlock()
	}
	return nil
}

// lost notes that the connection has ended. What waits for an acknowledgement waits for
// the session to be resumed, for a while; if it cannot be, it fails at once.
func (c *Client) lost(err error) {
	c.mu.Lock()
	c.setUp(false)
	c.state, c.reason = core.Connecting, plain(err).Error()
	resumable := c.session.id != "" && !violation(err)
	if resumable {
		c.giveUp = time.AfterFunc(resumePatience, c.abandon)
	}
	c.counters["connections_lost"]++
	c.mu.Unlock()
	if !resumable {
		c.drop("the connection was lost: whether it arrived is not known")
	}
	c.o.OnLost()
}

// violation reports whether the session ended in a way that nobody resumes: the server
// ended it, or sent what it would only send again.
func violation(err error) bool {
	var refused *refusal
	var syntax *xml.SyntaxError
	switch {
	case errors.Is(err, errTooLong), errors.Is(err, errTooDeep), errors.Is(err, errRestricted), errors.Is(err, errClosed),
		errors.Is(err, errAck), errors.As(err, &refused):
		return true
	case errors.As(err, &syntax):
		return !strings.Contains(syntax.Msg, "unexpected EOF")
	}
	return strings.HasPrefix(err.Error(), "the server ends the stream")
}

// Tried is closed when the first attempt to connect has ended, either way.
func (c *Client) Tried() <-chan struct{} { return c.tried }

// triedOnce is called with c.mu held.
func (c *Client) triedOnce() {
	select {
	case <-c.tried:
	default:
		close(c.tried)
	}
}

// setUp is called with c.mu held.
func (c *Client) setUp(up bool) {
	if c.up != up {
		c.up = up
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// failing notes why there is no connection.
func (c *Client) failing(err error, wait time.Duration) {
	err = plain(err)
	c.mu.Lock()
	c.state, c.reason = core.Connecting, err.Error()
	if _, ok := errors.AsType[*refusal](err); ok {
		c.state = core.Down
	}
	c.triedOnce()
	c.mu.Unlock()
	c.o.Log.Warn("xmpp not connected", slog.Any("error", err), slog.Duration("retry_in", wait))
}

// plain puts the end of a connection into words.
func plain(err error) error {
	var syntax *xml.SyntaxError
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &syntax) && strings.Contains(syntax.Msg, "unexpected EOF") {
		return errors.New("the server closed the connection")
	}
	if errors.As(err, &syntax) {
		return fmt.Errorf("the server sent no valid XML: %s", Clean(fmt.Sprintf("%.200s", syntax.Msg)))
	}
	return err
}

// Ready waits until there is a session, or ctx ends.
func (c *Client) Ready(ctx context.Context) error {
	for {
		c.mu.Lock()
		up, changed := c.up, c.changed
		c.mu.Unlock()
		if up {
			return nil
		}
		select {
		case <-changed:
		case <-c.done:
			return core.Errorf(core.Unavailable, "the backend is closed")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Up is nil while there is a connection, and else Unavailable with the reason.
func (c *Client) Up() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up {
		return nil
	}
	return core.Errorf(core.Unavailable, "not connected: %s", c.reason)
}

// JID is our address as the server last gave it.
func (c *Client) JID() jid.JID {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jid.Equal(jid.JID{}) {
		return c.o.JID
	}
	return c.jid
}

// Age is how long ago the present session began.
func (c *Client) Age() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.since)
}

// Status tells how the connection is.
func (c *Client) Status() core.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := core.Status{State: c.state, Reason: c.reason, Counters: make(map[string]int64, len(c.counters)+1)}
	for name, n := range c.counters {
		s.Counters[name] = n
	}
	s.Counters["send_queue_now"] = int64(len(c.queue) + len(c.unacked))
	return s
}

// Count adds to one of the status's counters.
func (c *Client) Count(name string, n int64) {
	c.mu.Lock()
	c.counters[name] += n
	c.mu.Unlock()
}

// Close sends what is queued while ctx lasts, ends the stream and waits until everything
// has stopped.
func (c *Client) Close(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		c.mu.Lock()
		waiting = c.up && len(c.queue) > 0
		c.mu.Unlock()
		if waiting {
			select {
			case <-tick.C:
			case <-ctx.Done():
				waiting = false
			}
		}
	}
	c.cancel()
	<-c.done
	return nil
}

// backoff spaces the tries out.
type backoff struct{ tries int }

func (b *backoff) next(err error) time.Duration {
	first, most := 500*time.Millisecond, 10*time.Second
	if refused, ok := errors.AsType[*refusal](err); ok {
		first, most = 5*time.Second, time.Minute
		if refused.slow {
			first, most = 30*time.Second, 5*time.Minute
		}
	}
	wait := min(first<<min(b.tries, 16), most)
	b.tries++
	return wait/2 + rand.N(wait/2) //nolint:gosec // it need not be secret
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
