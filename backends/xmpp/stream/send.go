package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/core"
)

var errAck = errors.New("the server acknowledges what was not sent")

// Sent is a stanza on its way.
type Sent struct {
	data []byte
	ack  bool
	done chan struct{}
	err  error
}

// Done is closed when the server has taken the stanza, or nobody will know; see Err. It
// is only for stanzas that were sent with an acknowledgement.
func (s *Sent) Done() <-chan struct{} { return s.done }

// Err is nil if the server has the stanza. It is read after Done.
func (s *Sent) Err() error { return s.err }

func (s *Sent) finish(err error) {
	s.err = err
	close(s.done)
}

// NewID is an id for a stanza that nobody can guess beforehand.
func (c *Client) NewID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newID()
}

// Prefix is what NewID's ids begin with; it is this client's own.
func (c *Client) Prefix() string { return c.prefix }

func (c *Client) newID() string {
	c.lastID++
	return c.prefix + strconv.FormatUint(c.lastID, 36)
}

func newPrefix() string { return rand.Text()[:16] + "-" }

// Send queues a stanza; it does not block. With ack the server is asked to say when it
// has it.
func (c *Client) Send(e *Element, ack bool) (*Sent, error) {
	s := &Sent{data: e.Append(nil, nsClient), ack: ack, done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	return s, c.enqueue(s)
}

func (c *Client) enqueue(s *Sent) error {
	switch {
	case !c.up:
		return core.Errorf(core.Unavailable, "not connected: %s", c.reason)
	case len(s.data) > c.maxSend:
		return core.Errorf(core.TooLarge, "a stanza of %d bytes: at most %d are allowed", len(s.data), c.maxSend)
	case len(c.queue)+len(c.unacked) >= c.o.MaxQueue || c.bytes+len(s.data) > maxQueueBytes:
		c.counters["send_queue_full"]++
		err := core.Errorf(core.TooMany, "the server does not keep up: %d stanzas are on their way", len(c.queue)+len(c.unacked))
		err.RetryAfter = time.Second
		return err
	}
	c.queue = append(c.queue, s)
	c.bytes += len(s.data)
	signal(c.wake)
	return nil
}

// write sends what is queued until ctx ends or the connection does.
func (c *Client) write(ctx context.Context, l *link) error {
	timer := time.NewTimer(c.o.Keepalive)
	defer timer.Stop()
	for {
		batch := c.batch(l)
		if len(batch) > 0 {
			if err := l.conn.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
				return err
			}
			if _, err := l.conn.Write(batch); err != nil {
				return err
			}
			timer.Reset(c.o.Keepalive)
			if ctx.Err() == nil {
				continue
			}
		}
		select {
		case <-c.wake:
		case <-timer.C:
			if err := c.keepalive(l); err != nil {
				return err
			}
			timer.Reset(c.o.Keepalive)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// batch takes from the queue what is written at once.
func (c *Client) batch(l *link) []byte {
	const enough = 64 << 10
	var b []byte
	c.mu.Lock()
	defer c.mu.Unlock()
	ask, n := false, 0
	for ; n < len(c.queue) && len(b) < enough; n++ {
		s := c.queue[n]
		b = append(b, s.data...)
		ask = ask || s.ack
		if l.managed || s.ack {
			c.unacked = append(c.unacked, s)
		} else {
			c.bytes -= len(s.data)
		}
	}
	c.queue = c.queue[n:]
	if len(c.queue) == 0 {
		c.queue = nil
	}
	const many = 50
	switch {
	case l.managed && (ask || n > 0 && len(c.unacked) >= many):
		b = E(nsSM, "r").Append(b, nsClient)
	case !l.managed && ask:
		// Stanzas are handled in their order: when this is answered, all before it have been.
		id := ackPrefix + uitoa(c.acked+uint32(len(c.unacked)))
		b = c.ping(id).Append(b, nsClient)
	}
	if c.ackDue && l.managed {
		b = E(nsSM, "a").Set("h", uitoa(c.in)).Append(b, nsClient)
	}
	c.ackDue = false
	return b
}

const ackPrefix = "ack-"

func (c *Client) ping(id string) *Element {
	return E(nsClient, "iq", E(nsPing, "ping")).Set("type", "get").Set("id", id).Set("to", c.o.JID.Domainpart())
}

func (c *Client) keepalive(l *link) error {
	probe := c.ping("keepalive")
	if l.managed {
		probe = E(nsSM, "r")
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return err
	}
	_, err := l.conn.Write(probe.Append(nil, nsClient))
	return err
}

// bye ends the connection from our side.
func (c *Client) bye(l *link, cause error) {
	const patience = time.Second
	if l.conn.SetWriteDeadline(time.Now().Add(patience)) == nil && (errors.Is(cause, context.Canceled) || violation(cause)) {
		end := "</stream:stream>"
		if violation(cause) {
			end = fmt.Sprintf(`<stream:error><policy-violation xmlns="%s"/></stream:error>`, nsStreams) + end
		}
		_, _ = l.conn.Write([]byte(end))
	}
	_ = l.conn.Close()
}

// acknowledged handles the server's count of our stanzas.
func (c *Client) acknowledged(count string) error {
	h, err := strconv.ParseUint(count, 10, 32)
	if err != nil {
		return errAck
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := uint32(h) - c.acked
	if int64(n) > int64(len(c.unacked)) {
		return errAck
	}
	c.settle(int(n))
	c.acked = uint32(h)
	return nil
}

// settle finishes the n oldest. c.mu is held.
func (c *Client) settle(n int) {
	for _, s := range c.unacked[:n] {
		c.bytes -= len(s.data)
		s.finish(nil)
	}
	c.unacked = c.unacked[n:]
	if len(c.unacked) == 0 {
		c.unacked = nil
	}
}

// drop ends the session: what is on its way fails, and so do requests.
func (c *Client) drop(why string) {
	c.mu.Lock()
	c.session = smSession{}
	if c.giveUp != nil {
		c.giveUp.Stop()
		c.giveUp = nil
	}
	c.failAll(why)
	c.mu.Unlock()
}

// abandon lets nobody wait any longer for the session to be resumed. What has come in
// meanwhile may still arrive later.
func (c *Client) abandon() {
	c.mu.Lock()
	if c.giveUp != nil {
		c.giveUp = nil
		c.failAll("the connection was lost: whether it arrived is not known")
	}
	c.mu.Unlock()
}

func (c *Client) failAll(why string) {
	close(c.ended)
	c.ended = make(chan struct{})
	err := core.Errorf(core.Unavailable, "%s", why)
	for _, s := range append(c.unacked, c.queue...) {
		s.finish(err)
	}
	c.unacked, c.queue, c.bytes = nil, nil, 0
	for id, r := range c.requests {
		delete(c.requests, id)
		r.answer <- nil
	}
}

// Ended is closed when the present session is over, or not resumed in time: no answer
// that has not come will come.
func (c *Client) Ended() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// request is an IQ that waits for its answer.
type request struct {
	to     string
	answer chan *Element // gets one value; nil when none will come
}

// Ask sends a request (an iq element without an id) and returns the answer, which may be
// of type error.
func (c *Client) Ask(ctx context.Context, iq *Element) (*Element, error) {
	return c.AskAs(ctx, c.NewID(), iq)
}

// AskAs is Ask with an id of NewID's.
func (c *Client) AskAs(ctx context.Context, id string, iq *Element) (*Element, error) {
	iq.Set("id", id)
	r := &request{to: iq.Attr("to"), answer: make(chan *Element, 1)}
	s := &Sent{data: iq.Append(nil, nsClient), done: make(chan struct{})}
	c.mu.Lock()
	err := c.enqueue(s)
	if err == nil {
		c.requests[id] = r
	}
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case e := <-r.answer:
		if e == nil {
			return nil, core.Errorf(core.Unavailable, "the connection was lost before the answer came")
		}
		return e, nil
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.requests, id)
		c.mu.Unlock()
		return nil, ctx.Err()
	}
}

// answered hands an answer to who asked, and reports whether the stanza is one.
func (c *Client) answered(e *Element) bool {
	if t := e.Attr("type"); t != "result" && t != "error" {
		return false
	}
	id := e.Attr("id")
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(id) > len(ackPrefix) && id[:len(ackPrefix)] == ackPrefix && !c.managed && c.same(e.Attr("from"), c.o.JID.Domainpart()) {
		if h, err := strconv.ParseUint(id[len(ackPrefix):], 10, 32); err == nil {
			if n := uint32(h) - c.acked; int64(n) <= int64(len(c.unacked)) {
				c.settle(int(n))
				c.acked = uint32(h)
			}
		}
		return true
	}
	if r := c.requests[id]; r != nil && c.same(e.Attr("from"), r.to) {
		delete(c.requests, id)
		r.answer <- e
	}
	return true
}

// same reports whether an answer from there is one of who was asked. The server may
// answer under our account's address, or none (RFC 6120, 8.1.2.1).
func (c *Client) same(from, asked string) bool {
	own := func(s string) bool {
		return s == "" || s == c.o.JID.Bare().String() || s == c.o.JID.Domainpart()
	}
	if from == asked || own(from) && own(asked) {
		return true
	}
	if own(asked) && from == c.jid.String() {
		return asked == "" || asked == c.o.JID.Bare().String()
	}
	a, err := jid.Parse(from)
	b, err2 := jid.Parse(asked)
	return err == nil && err2 == nil && a.Equal(b)
}
