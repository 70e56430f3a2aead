package redis

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/anybridge/anybridge/core"
)

// callee serves the procedures that the bridge has registered: the lists of their
// requests are read over one connection; on a cluster, over one for each hash slot.
type callee struct {
	r       *running
	cfg     *RPCConfig
	answers *core.Pipe[outgoing] // bounded by free
	free    chan struct{}        // an element for each invocation that may be taken

	mu      sync.Mutex
	byKey   map[string]*registration
	groups  map[uint16]*callGroup
	open    map[*invoked]struct{} // what was handed to the host and not answered
	started bool
	closed  bool
	stop    context.CancelFunc
	ctx     context.Context //nolint:containedctx // ends when no more requests are taken
	serving sync.WaitGroup
	sending sync.WaitGroup
}

// outgoing is an answer on its way.
type outgoing struct {
	to      string
	message []byte
}

func newCallee(r *running) *callee {
	cfg := &r.cfg.Load().RPC
	c := &callee{
		r: r, cfg: cfg, answers: core.NewPipe[outgoing](0, 0, nil), free: make(chan struct{}, cfg.MaxInFlight),
		open: map[*invoked]struct{}{}, byKey: map[string]*registration{}, groups: map[uint16]*callGroup{},
	}
	for range cfg.MaxInFlight {
		c.free <- struct{}{}
	}
	c.ctx, c.stop = context.WithCancel(r.ctx)
	return c
}

// register implements Backend.Register.
func (c *callee) register(ctx context.Context, p core.Pattern, o core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	if err := p.Valid(); err != nil {
		return nil, err
	}
	reg := newRegistration(c, p.Address, o.Invoke == "" || o.Invoke == "single")
	if err := reg.claim(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, core.Errorf(core.Unavailable, "the backend is closed")
	case c.byKey[reg.key] != nil:
		return nil, core.Errorf(core.AlreadyExists, "procedure %s is registered already", p.Name)
	}
	c.byKey[reg.key] = reg
	if !c.started {
		c.started = true
		c.serving.Go(c.announce)
		c.sending.Go(c.send)
	}
	slot := uint16(0)
	if c.r.sys.cluster != nil {
		slot = slotOf(reg.key)
	}
	g := c.groups[slot]
	if g == nil {
		g = &callGroup{c: c, slot: slot, health: newLink("requests", c.r.log)}
		c.groups[slot] = g
		ctx, stop := context.WithCancel(c.ctx)
		c.serving.Go(func() {
			defer stop()
			g.stop = stop
			g.health.Keep(ctx, g.session)
		})
	}
	g.keys = append(slices.Clone(g.keys), reg.key)
	c.wakeLocked(g)
	return reg, nil
}

// remove ends a registration.
func (c *callee) remove(reg *registration) {
	c.mu.Lock()
	if c.byKey[reg.key] != reg {
		c.mu.Unlock()
		return
	}
	delete(c.byKey, reg.key)
	for _, g := range c.groups {
		if i := slices.Index(g.keys, reg.key); i >= 0 {
			g.keys = slices.Delete(slices.Clone(g.keys), i, i+1)
			c.wakeLocked(g)
		}
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(c.r.ctx, time.Second)
	defer cancel()
	key := c.cfg.serverKey(reg.procedure.Name)
	_ = c.r.sys.keyed(ctx, key, func(r goredis.Cmdable) error { return r.Del(ctx, key).Err() }) // it expires anyway
}

// wakeLocked has the group look at its keys again. It is a courtesy: the group does so
// every second.
func (c *callee) wakeLocked(g *callGroup) {
	reader := g.reader
	if reader == nil || reader.id == 0 || c.closed {
		return
	}
	node := g.node
	c.serving.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, time.Second)
		defer cancel()
		_ = c.r.sys.keyed(ctx, node, func(r goredis.Cmdable) error {
			return r.ClientUnblock(ctx, reader.id).Err()
		})
	})
}

// announce tells callers which procedures are served.
func (c *callee) announce() {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		var all []*registration
		for _, reg := range c.byKey {
			all = append(all, reg)
		}
		c.mu.Unlock()
		for part := range slices.Chunk(all, 256) {
			ctx, cancel := context.WithTimeout(c.ctx, announceEvery)
			_, _ = c.r.sys.client.Pipelined(ctx, func(pipe goredis.Pipeliner) error {
				for _, reg := range part {
					pipe.Set(ctx, c.cfg.serverKey(reg.procedure.Name), reg.announcement(), announceLife)
				}
				return nil
			}) // the next tick tries again
			cancel()
		}
	}
}

// invoked is a request that was handed to the host.
type invoked struct {
	c       *callee
	id      string
	replyTo string
	once    sync.Once
}

func (c *callee) invoked(m *message) *invoked {
	i := &invoked{c: c, id: m.ID, replyTo: m.ReplyTo}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[i] = struct{}{}
	return i
}

// reply queues the answer. It does not block.
func (i *invoked) reply(result *core.Result, err error) {
	i.once.Do(func() {
		a := &message{ID: i.id}
		switch {
		case err != nil:
			a.setError(err)
		case result != nil:
			a.Args, a.Kwargs = result.Args, result.Kwargs
		}
		if i.replyTo != "" {
			i.c.answers.TryPut(outgoing{to: i.replyTo, message: a.encode()}, 0)
		}
		i.forget()
	})
}

// forget gives the request's place free.
func (i *invoked) forget() {
	i.c.mu.Lock()
	delete(i.c.open, i)
	i.c.mu.Unlock()
	i.c.free <- struct{}{}
}

// refuse answers everything that is open with Unavailable.
func (c *callee) refuse() {
	c.mu.Lock()
	open := slices.Collect(maps.Keys(c.open))
	c.mu.Unlock()
	for _, i := range open {
		i.reply(nil, errClosed())
	}
}

// send is the one who sends answers.
func (c *callee) send() {
	for {
		batch, err := c.answers.Next(c.r.ctx)
		if err != nil {
			return
		}
		for part := range slices.Chunk(batch, 256) {
			c.sendAnswers(part)
		}
	}
}

// sendAnswers tries for a few seconds: an answer that comes twice does no harm.
func (c *callee) sendAnswers(answers []outgoing) {
	var err error
	for pause := firstPause; pause < 2*time.Second; pause *= 2 {
		ctx, cancel := context.WithTimeout(c.r.ctx, answerTimeout)
		_, err = c.r.sys.client.Pipelined(ctx, func(pipe goredis.Pipeliner) error {
			for _, a := range answers {
				pipe.RPush(ctx, a.to, a.message)
				pipe.Expire(ctx, a.to, replyLife)
			}
			return nil
		})
		cancel()
		if err == nil || isReply(err, "WRONGTYPE", "NOPERM") || c.r.ctx.Err() != nil {
			break // those are the fault of one of them; the others have been executed
		}
		time.Sleep(pause)
	}
	if err != nil {
		c.r.log.Warn("answers lost", slog.Int("answers", len(answers)), slog.Any("error", c.r.sys.error(err)))
	}
}

// putBack returns requests that were taken and not executed to the head of their list.
func (c *callee) putBack(key string, requests [][]byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.r.ctx), 2*time.Second)
	defer cancel()
	values := make([]any, 0, len(requests))
	for _, request := range slices.Backward(requests) {
		values = append(values, request)
	}
	err := c.r.sys.keyed(ctx, key, func(r goredis.Cmdable) error {
		_, err := r.Pipelined(ctx, func(pipe goredis.Pipeliner) error {
			pipe.LPush(ctx, key, values...)
			pipe.Expire(ctx, key, requestLife)
			return nil
		})
		return err
	})
	if err != nil {
		c.r.log.Warn("requests lost", slog.Int("requests", len(requests)), slog.Any("error", err))
		return
	}
	c.r.count.rpcReturns.Add(int64(len(requests)))
}

// close takes no more requests, and waits for the answers to those it has taken until
// ctx ends.
func (c *callee) close(ctx context.Context) {
	c.mu.Lock()
	for _, g := range c.groups {
		g.keys = nil
		c.wakeLocked(g)
	}
	c.closed = true
	var all []*registration
	for _, reg := range c.byKey {
		all = append(all, reg)
	}
	c.mu.Unlock()
	for _, reg := range all {
		_ = reg.Close()
	}
	ctx, cancel := patience(ctx)
	defer cancel()
	taken := 0
	for ctx.Err() == nil && taken < cap(c.free) {
		select {
		case <-c.free:
			taken++
		case <-ctx.Done():
		}
	}
	c.release(taken)
	c.refuse()
	c.stop()
	c.serving.Wait()
	c.refuse()
	c.answers.End(nil)
	c.sending.Wait()
}

// patience ends a little before ctx, so that something can be said yet.
func patience(ctx context.Context) (context.Context, context.CancelFunc) {
	const longest = 10 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithTimeout(ctx, min(longest, time.Until(deadline)*4/5))
	}
	return context.WithTimeout(ctx, longest)
}

// slotOf is the hash slot of a key (Redis Cluster specification: CRC16, XMODEM).
func slotOf(key string) uint16 {
	if _, after, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(after, "}"); ok && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for _, b := range []byte(key) {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % 16384
}
