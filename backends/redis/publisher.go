package redis

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// publisher sends PUBLISH commands over one connection: everything that waits goes
// out in one write, and the replies come back in order. Nothing waits for a batch to
// fill.
type publisher struct {
	sys    *system
	health *kit.Link
	link   atomic.Pointer[publishLink] // nil while disconnected

	commands, bytes atomic.Int64 // on their way
}

// maxPublishes and maxPublishBytes bound what is on its way to Redis.
const (
	maxPublishes    = 16 << 10
	maxPublishBytes = 64 << 20
	maxWrite        = 256 << 10
)

// publishLink is the publisher's present connection.
type publishLink struct {
	*conn
	out     *core.Pipe[*request] // bounded by publisher.commands
	waiting chan *request        // sent, in order
}

// request is a command whose reply somebody waits for.
type request struct {
	command []byte
	waiter  *waiter // nil for a ping
	err     error   // the outcome, once it has ended
	ended   atomic.Bool
}

// waiter waits for the replies to requests that were made together.
type waiter struct {
	left atomic.Int32
	all  chan struct{} // closed when there is none left
}

func newWaiter(requests int) *waiter {
	w := &waiter{all: make(chan struct{})}
	w.left.Store(int32(requests))
	return w
}

// done says that one of the requests has ended, or is not going to be made.
func (w *waiter) done() {
	if w.left.Add(-1) == 0 {
		close(w.all)
	}
}

// wait returns when all requests have ended, or ctx.
func (w *waiter) wait(ctx context.Context) {
	select {
	case <-w.all:
	case <-ctx.Done():
	}
}

// outcome is what came of a request, after its waiter's wait. If ctx ended first, the
// event may be published all the same.
func (r *request) outcome(ctx context.Context) error {
	if !r.ended.Load() {
		return core.AsError(ctx.Err())
	}
	return r.err
}

func newPublisher(sys *system) *publisher {
	return &publisher{sys: sys, health: newLink("publish", sys.log)}
}

// start sends a request. If there is no error, its waiter is told when it has ended.
func (p *publisher) start(r *request) error {
	link := p.link.Load()
	if link == nil {
		return p.health.Unavailable()
	}
	size := int64(len(r.command))
	if n, b := p.commands.Add(1), p.bytes.Add(size); n > maxPublishes || b > maxPublishBytes && n > 1 {
		p.done(size)
		e := core.Errorf(core.TooMany, "%d messages of %d bytes together are on their way to redis", n-1, b-size)
		e.RetryAfter = 100 * time.Millisecond
		return e
	}
	if !link.out.TryPut(r, len(r.command)) {
		p.done(size)
		return p.health.Unavailable()
	}
	return nil
}

func (p *publisher) done(size int64) {
	p.commands.Add(-1)
	p.bytes.Add(-size)
}

// finish hands a request its outcome.
func (p *publisher) finish(r *request, err error) {
	if r.waiter == nil {
		return
	}
	p.done(int64(len(r.command)))
	r.err = err
	r.ended.Store(true)
	r.waiter.done()
}

// session serves one connection until it fails or ctx ends.
func (p *publisher) session(ctx context.Context) error {
	c, err := p.sys.dial(ctx)
	if err != nil {
		return err
	}
	link := &publishLink{conn: c, out: core.NewPipe[*request](0, 0, nil), waiting: make(chan *request, maxPublishes+16)}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	reading, probing := make(chan struct{}), make(chan struct{})
	go func() { defer close(reading); cancel(p.read(link)) }()
	go func() { defer close(probing); cancel(probe(ctx, p.sys, c, link.ping)) }()
	p.link.Store(link)
	p.health.Up(slog.String("addr", c.addr))

	cancel(p.write(ctx, link))
	p.link.Store(nil)
	<-reading
	<-probing
	err = p.sys.error(context.Cause(ctx))
	if core.CodeOf(err) == core.Canceled {
		err = core.Errorf(core.Unavailable, "the backend is closed")
	}
	lost := core.Errorf(core.Unavailable, "the connection was lost before redis answered: %w", err)
	lost.RetryAfter = firstPause
	p.fail(link, lost)
	return err
}

// fail ends the link's requests, sent or not.
func (p *publisher) fail(link *publishLink, err error) {
	link.out.End(nil)
	for {
		select {
		case r := <-link.waiting:
			p.finish(r, err)
			continue
		default:
		}
		break
	}
	for {
		rest, end := link.out.Next(context.Background())
		if end != nil {
			return
		}
		for _, r := range rest {
			p.finish(r, err)
		}
	}
}

// write is the one who writes to the link.
func (p *publisher) write(ctx context.Context, link *publishLink) error {
	var buffer []byte
	for {
		requests, err := link.out.Next(ctx)
		if err != nil {
			return context.Cause(ctx)
		}
		for i, r := range requests {
			command := r.command
			if command == nil {
				command = pingCommand()
			}
			link.waiting <- r // bounded by publisher.commands
			buffer = append(buffer, command...)
			if len(buffer) < maxWrite && i < len(requests)-1 {
				continue
			}
			if err := link.send(buffer); err != nil {
				for _, left := range requests[i+1:] {
					p.finish(left, p.health.Unavailable())
				}
				return err
			}
			buffer = buffer[:0]
		}
		if cap(buffer) > 2*maxWrite {
			buffer = nil
		}
	}
}

// read is the one who reads from the link.
func (p *publisher) read(link *publishLink) error {
	for {
		if link.r.Buffered() == 0 {
			_ = link.SetReadDeadline(time.Now().Add(3 * p.sys.cfg.PingInterval))
		}
		reply, err := link.read(0)
		if err != nil {
			return err
		}
		select {
		case r := <-link.waiting:
			e, refused := reply.(replyError)
			if refused {
				p.finish(r, p.sys.error(e))
			} else {
				p.finish(r, nil)
			}
			if refused && isReply(e, "READONLY") {
				return e // a master no more
			}
		default:
			return errProtocol
		}
	}
}

func (l *publishLink) ping() { l.out.TryPut(&request{}, 0) }

func pingCommand() []byte { return command(nil, "PING") }

// probe calls ping in every interval until ctx ends, and reports when the connection
// leads to a master no more.
func probe(ctx context.Context, sys *system, c *conn, ping func()) error {
	tick := time.NewTicker(sys.cfg.PingInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			ping()
			if sys.moved(ctx, c) {
				return core.Errorf(core.Unavailable, "%s is the master no more", c.addr)
			}
		}
	}
}
