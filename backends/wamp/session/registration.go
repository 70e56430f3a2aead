package session

import (
	"context"
	"io"
	"sync"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/core"
)

// maxInvocationBatch is how many invocations one Next of a registration returns.
const maxInvocationBatch = 256

// registration is a binding of a procedure pattern, and the stream of its
// invocations.
type registration struct {
	s       *Session
	pattern core.Pattern
	invoke  string
	queue   *core.Pipe[*invocation]

	change   sync.Mutex // held during REGISTER and UNREGISTER
	at       *conn      // where it is established, or nil; changed with change and at.mu held
	id       wamp.ID    // under which id it is established there
	discreet bool       // the router does not disclose callers; guarded by change
	once     sync.Once
	closed   chan struct{} // Close has begun
	released chan struct{} // Close is done

	rest []*invocation // taken out of the queue by Next, and not handed on
	out  []*core.Invocation
}

// Register returns when the router has accepted the registration. Callers are
// disclosed unless the router refuses that, and a call's timeout is left to us
// where routers know forward_timeout.
func (s *Session) Register(ctx context.Context, p core.Pattern, o core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	if err := checkName("procedure", p.Name, p.Match); err != nil {
		return nil, err
	}
	switch o.Invoke {
	case "", wamp.InvokeSingle, wamp.InvokeFirst, wamp.InvokeLast, wamp.InvokeRoundRobin, wamp.InvokeRandom:
	default:
		return nil, core.Errorf(core.InvalidArgument, "invocation policy %q: want single, first, last, roundrobin or random", o.Invoke)
	}
	b := &registration{
		s: s, pattern: p, invoke: o.Invoke,
		queue:    core.NewPipe[*invocation](s.o.MaxInvocations, s.o.MaxInvocationBytes, nil),
		closed:   make(chan struct{}),
		released: make(chan struct{}),
	}
	if err := s.bind(ctx, b); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *registration) key() bindingKey          { return bindingKey{"registration", b.pattern} }
func (b *registration) closing() <-chan struct{} { return b.closed }
func (b *registration) gone() <-chan struct{}    { return b.released }
func (b *registration) end()                     { b.queue.End(nil) }

func (b *registration) options() wamp.Dict {
	options := wamp.Dict{"forward_timeout": true}
	if !b.discreet {
		options["disclose_caller"] = true
	}
	if b.pattern.Match != core.Exact && b.pattern.Match != "" {
		options["match"] = string(b.pattern.Match)
	}
	if b.invoke != "" && b.invoke != wamp.InvokeSingle {
		options["invoke"] = b.invoke
	}
	return options
}

// establish implements binding.
func (b *registration) establish(ctx context.Context, c *conn) error {
	b.change.Lock()
	defer b.change.Unlock()
	if isClosed(b.closed) {
		return nil
	}
	if _, ok := b.bound(c); ok {
		return nil
	}
	b.discreet = false
	err := b.register(ctx, c)
	if e := core.AsError(err); err != nil && isDisclosure(e.URI) {
		b.discreet = true
		err = b.register(ctx, c)
	}
	return err
}

// isDisclosure reports whether the router refused to disclose callers; the names
// differ.
func isDisclosure(uri string) bool {
	return uri == string(wamp.ErrOptionDisallowedDiscloseMe) || uri == "wamp.error.disclose_me.not_allowed" ||
		uri == "wamp.error.option_disallowed.disclose_caller"
}

func (b *registration) register(ctx context.Context, c *conn) error {
	options := b.options()
	late := false // guarded by c.mu
	msg, err := c.do(ctx, &request{
		build: func(id wamp.ID) wamp.Message {
			return &wamp.Register{Request: id, Options: options, Procedure: wamp.URI(b.pattern.Name)}
		},
		accept: func(msg wamp.Message) {
			m, ok := msg.(*wamp.Registered)
			if !ok {
				return
			}
			c.mu.Lock()
			if !late {
				b.at, b.id = c, m.Registration
				c.regs[m.Registration] = b
			}
			undo := late
			c.mu.Unlock()
			if undo {
				b.s.spawn(func() { _ = b.unregister(b.s.ctx, c, m.Registration) })
			}
		},
	})
	if err != nil {
		c.mu.Lock()
		late = true
		c.mu.Unlock()
		if id, ok := b.unbound(c); ok { // the answer came in the last moment
			b.s.spawn(func() { _ = b.unregister(b.s.ctx, c, id) })
		}
		return err
	}
	if _, ok := msg.(*wamp.Registered); !ok {
		return unexpectedAnswer("REGISTER", msg)
	}
	return nil
}

// bound returns the registration's id on c, if it is established there.
func (b *registration) bound(c *conn) (wamp.ID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return b.id, b.at == c
}

// unbound takes the registration out of c's table.
func (b *registration) unbound(c *conn) (wamp.ID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.at != c {
		return 0, false
	}
	if c.regs[b.id] == b {
		delete(c.regs, b.id)
	}
	b.at = nil
	return b.id, true
}

func (b *registration) unregister(ctx context.Context, c *conn, id wamp.ID) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := c.do(ctx, &request{build: func(request wamp.ID) wamp.Message {
		return &wamp.Unregister{Request: request, Registration: id}
	}})
	return err
}

// withdraw unregisters for good, with the stream left open: the session is being
// closed. Invocations that are still on their way are refused.
func (b *registration) withdraw(ctx context.Context, c *conn) {
	b.change.Lock()
	defer b.change.Unlock()
	if id, ok := b.unbound(c); ok {
		_ = b.unregister(ctx, c, id)
	}
}

// Close implements core.Stream. Invocations that were not taken are answered with
// Unavailable; those that were can still be answered.
func (b *registration) Close() error {
	var err error
	b.once.Do(func() {
		close(b.closed)
		_ = b.queue.Close()
		b.change.Lock()
		defer b.change.Unlock()
		if c := b.s.current.Load(); c != nil {
			if id, ok := b.unbound(c); ok {
				err = b.unregister(b.s.ctx, c, id)
			}
			c.refuse(func(inv *invocation) bool { return inv.b == b && !inv.taken.Load() })
		}
		b.s.unbind(b)
		close(b.released)
	})
	switch core.CodeOf(err) {
	case core.Unavailable, core.NotFound: // the router has forgotten it anyhow
		return nil
	}
	return err
}

// Next implements core.Stream.
func (b *registration) Next(ctx context.Context) ([]*core.Invocation, error) {
	for {
		if isClosed(b.closed) {
			return nil, io.EOF
		}
		if len(b.rest) == 0 {
			batch, err := b.queue.Next(ctx)
			if err != nil {
				return nil, err
			}
			b.rest = batch
		}
		n := min(len(b.rest), maxInvocationBatch)
		clear(b.out)
		b.out = b.out[:0]
		for _, inv := range b.rest[:n] {
			if out := inv.take(); out != nil {
				b.out = append(b.out, out)
			}
		}
		b.rest = b.rest[n:]
		if len(b.out) > 0 {
			return b.out, nil
		}
	}
}
