package redis

import (
	"context"
	"log/slog"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// callGroup reads the requests of procedures whose lists one command can wait for.
type callGroup struct {
	c      *callee
	slot   uint16
	health *kit.Link
	stop   context.CancelFunc

	// Guarded by callee.mu.
	keys   []string // replaced whole
	reader *popper  // nil while disconnected
	node   string   // a key by which the reader's node is found
	turn   int
}

// maxPop is how many requests are taken at once.
const maxPop = 16

// session serves one connection until it fails, ctx ends or there is no procedure any
// more.
func (g *callGroup) session(ctx context.Context) error {
	keys := g.next()
	if keys == nil {
		return g.idle(ctx)
	}
	link, err := g.c.r.sys.dialKey(ctx, keys[0])
	if err != nil {
		return err
	}
	defer link.Close()
	reader := newPopper(ctx, link)
	g.attach(reader, keys[0])
	defer g.attach(nil, "")
	g.health.Up(slog.String("addr", link.addr))
	for {
		if keys = g.next(); keys == nil {
			return g.idle(ctx)
		}
		n, err := g.c.reserve(ctx, maxPop)
		if err != nil {
			return err
		}
		// A pop that has begun is waited for: what Redis has handed out would be lost.
		key, requests, bad, err := reader.pop(context.WithoutCancel(ctx), keys, n)
		g.c.r.count.rpcMalformed.Add(int64(bad))
		g.c.dispatch(key, requests)
		g.c.release(n - len(requests))
		if err != nil {
			return g.c.r.sys.error(err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// next is the group's keys, beginning with another one each time, so that a busy
// procedure does not starve the others.
func (g *callGroup) next() []string {
	g.c.mu.Lock()
	defer g.c.mu.Unlock()
	if len(g.keys) == 0 {
		return nil
	}
	g.turn = (g.turn + 1) % len(g.keys)
	return append(append(make([]string, 0, len(g.keys)), g.keys[g.turn:]...), g.keys[:g.turn]...)
}

// idle ends the group if it has no procedure.
func (g *callGroup) idle(ctx context.Context) error {
	g.c.mu.Lock()
	defer g.c.mu.Unlock()
	if len(g.keys) == 0 {
		if g.c.groups[g.slot] == g {
			delete(g.c.groups, g.slot)
		}
		g.stop()
		return ctx.Err()
	}
	return core.Errorf(core.Unavailable, "looking again")
}

func (g *callGroup) attach(p *popper, node string) {
	g.c.mu.Lock()
	defer g.c.mu.Unlock()
	g.reader, g.node = p, node
}

// reserve waits until at least one more invocation may be taken.
func (c *callee) reserve(ctx context.Context, most int) (n int, err error) {
	select {
	case <-c.free:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for n = 1; n < most; n++ {
		select {
		case <-c.free:
		default:
			return n, nil
		}
	}
	return n, nil
}

func (c *callee) release(n int) {
	for range n {
		c.free <- struct{}{}
	}
}

// dispatch hands requests to their registration, or back. Each has reserved its place.
func (c *callee) dispatch(key string, requests [][]byte) {
	if len(requests) == 0 {
		return
	}
	c.mu.Lock()
	reg := c.byKey[key]
	c.mu.Unlock()
	for i, raw := range requests {
		if reg == nil || !reg.take(raw) {
			c.putBack(key, requests[i:])
			c.release(len(requests) - i)
			return
		}
	}
}

// expired reports whether a request's caller has given up.
func (m *message) expired(now time.Time) bool {
	return m.Deadline > 0 && m.Deadline <= now.UnixMilli()
}
