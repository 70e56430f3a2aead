package redis

import (
	"context"
	"log/slog"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// caller makes calls: a request goes to the procedure's list, and the answer comes to
// a list of this process alone, which one connection reads.
type caller struct {
	r      *running
	cfg    *RPCConfig
	health *kit.Link
	inbox  string // the list of our answers; nobody can guess its name

	mu      sync.Mutex
	started bool
	link    *conn // that reads the inbox; nil while disconnected
	pending map[string]chan answer
	closed  bool
}

type answer struct {
	message *message
	err     error
}

// maxCalls bounds the calls in flight.
const maxCalls = 16 << 10

func newCaller(r *running) *caller {
	cfg := &r.cfg.Load().RPC
	return &caller{
		r: r, cfg: cfg, health: newLink("answers", r.log),
		inbox: cfg.replyKey(core.NewID("bridge")), pending: map[string]chan answer{},
	}
}

// call implements Backend.Call.
func (c *caller) call(ctx context.Context, call *core.Call) (*core.Result, error) {
	if err := call.Procedure.Valid(); err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
	}
	if err := c.listen(ctx); err != nil {
		return nil, err
	}
	if err := checkPayload(call.Payload); err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	p := &pendingCall{name: call.Procedure.Name, id: core.NewID("call"), got: make(chan answer, 1)}
	p.request = string((&message{
		ID: p.id, Args: call.Args, Kwargs: call.Kwargs, ReplyTo: c.inbox, Deadline: deadline.UnixMilli(), From: c.r.id,
	}).encode())
	if cfg := c.r.cfg.Load(); len(p.request) > cfg.MaxMessage {
		return nil, tooLong(len(p.request), cfg)
	}
	if err := c.expect(p); err != nil {
		return nil, err
	}
	defer c.forget(p)
	announced, err := c.send(ctx, p)
	if err != nil {
		return nil, err
	}
	c.r.count.rpcOut.Add(1)
	return c.await(ctx, p, announced)
}

type pendingCall struct {
	name, id, request string
	got               chan answer // has room for one
}

// listen starts the reader of the inbox with the first call, and waits for it a
// little.
func (c *caller) listen(ctx context.Context) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return core.Errorf(core.Unavailable, "the backend is closed")
	}
	if !c.started {
		c.started = true
		c.r.wg.Go(func() { c.health.Keep(c.r.ctx, c.session) })
	}
	link := c.link
	c.mu.Unlock()
	if link != nil {
		return nil
	}
	c.health.Ready(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		if ctx.Err() != nil {
			return core.AsError(ctx.Err())
		}
		return c.health.Unavailable()
	}
	return nil
}

func (c *caller) expect(p *pendingCall) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) >= maxCalls {
		err := core.Errorf(core.TooMany, "%d calls are in flight", len(c.pending))
		err.RetryAfter = time.Second
		return err
	}
	c.pending[p.id] = p.got
	return nil
}

func (c *caller) forget(p *pendingCall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, p.id)
}

// send queues the request and reports whether a server has announced itself.
func (c *caller) send(ctx context.Context, p *pendingCall) (announced bool, err error) {
	if announced, err = c.announced(ctx, p); err != nil {
		return false, err
	}
	key := c.cfg.callKey(p.name)
	var length int64
	err = c.r.sys.keyed(ctx, key, func(r goredis.Cmdable) error {
		var pushed *goredis.IntCmd
		_, err := r.Pipelined(ctx, func(pipe goredis.Pipeliner) error {
			pushed = pipe.RPush(ctx, key, p.request)
			pipe.Expire(ctx, key, requestLife)
			return nil
		})
		length = pushed.Val()
		return err
	})
	if err != nil {
		return false, err
	}
	if length > int64(c.cfg.MaxQueued) && c.withdraw(p) {
		err := core.Errorf(core.TooMany, "%d requests wait for procedure %s", length-1, p.name)
		err.RetryAfter = time.Second
		return false, err
	}
	return announced, nil
}

// announced reports whether somebody says that he serves the procedure.
func (c *caller) announced(ctx context.Context, p *pendingCall) (yes bool, err error) {
	key := c.cfg.serverKey(p.name)
	err = c.r.sys.keyed(ctx, key, func(r goredis.Cmdable) error {
		n, err := r.Exists(ctx, key).Result()
		yes = n > 0
		return err
	})
	return yes, err
}

// await waits for the answer. A request that nobody takes within the grace time, and
// for which nobody has announced to be there, finds no procedure.
func (c *caller) await(ctx context.Context, p *pendingCall, announced bool) (*core.Result, error) {
	tick := time.NewTicker(c.cfg.Grace)
	defer tick.Stop()
	grace := tick.C
	for {
		select {
		case a := <-p.got:
			switch {
			case a.err != nil:
				return nil, a.err
			case a.message.Error != "":
				return nil, a.message.err()
			}
			return &core.Result{Payload: a.message.payload()}, nil
		case <-grace:
			if announced { // still?
				yes, err := c.announced(ctx, p)
				announced = yes || err != nil
				continue
			}
			if c.withdraw(p) {
				return nil, core.Errorf(core.NoSuchProcedure, "nobody serves procedure %s on redis: no one took the request within %s", p.name, c.cfg.Grace)
			}
			grace = nil // somebody has taken it
		case <-ctx.Done():
			c.withdraw(p)
			return nil, core.AsError(ctx.Err())
		}
	}
}

// withdraw takes the request back and reports whether nobody had taken it.
func (c *caller) withdraw(p *pendingCall) bool {
	ctx, cancel := context.WithTimeout(c.r.ctx, time.Second)
	defer cancel()
	key := c.cfg.callKey(p.name)
	var n int64
	err := c.r.sys.keyed(ctx, key, func(r goredis.Cmdable) (err error) {
		n, err = r.LRem(ctx, key, -1, p.request).Result()
		return err
	})
	return err == nil && n > 0
}

// session reads the inbox over one connection until it fails or ctx ends.
func (c *caller) session(ctx context.Context) error {
	link, err := c.r.sys.dialKey(ctx, c.inbox)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = link.Close() })
	defer stop()
	defer link.Close()
	inbox := newPopper(ctx, link)
	c.mu.Lock()
	c.link = link
	c.mu.Unlock()
	c.health.Up(slog.String("addr", link.addr))
	for err == nil {
		var elements [][]byte
		_, elements, _, err = inbox.pop(ctx, []string{c.inbox}, 64)
		for _, element := range elements {
			c.answered(parseMessage(element))
		}
	}
	err = c.r.sys.error(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = nil
	lost := core.Errorf(core.Unavailable, "the connection was lost before the answer came: %w", err)
	for _, got := range c.pending {
		deliver(got, answer{err: lost})
	}
	return err
}

func (c *caller) answered(m *message) {
	if m == nil {
		c.r.count.rpcMalformed.Add(1)
		return
	}
	c.mu.Lock()
	got := c.pending[m.ID]
	delete(c.pending, m.ID)
	c.mu.Unlock()
	if got == nil {
		c.r.count.rpcUnknown.Add(1)
		return
	}
	deliver(got, answer{message: m})
}

func deliver(got chan answer, a answer) {
	select {
	case got <- a:
	default: // it has one already
	}
}

// close ends calls; the backend's context has ended the reader.
func (c *caller) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, got := range c.pending {
		deliver(got, answer{err: core.Errorf(core.Unavailable, "the backend is closed")})
	}
}
