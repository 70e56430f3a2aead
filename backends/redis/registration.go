package redis

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/anybridge/anybridge/core"
)

// registration is a procedure that the bridge serves.
type registration struct {
	c         *callee
	procedure core.Address
	key       string // of its requests
	single    bool
	pipe      *core.Pipe[*core.Invocation]

	mu      sync.Mutex
	closed  bool
	untaken map[*core.Invocation]untaken // in pipe
}

// untaken is a request that the host has not taken.
type untaken struct {
	*invoked
	raw []byte
}

func newRegistration(c *callee, procedure core.Address, single bool) *registration {
	return &registration{
		c: c, procedure: procedure, key: c.cfg.callKey(procedure.Name), single: single,
		pipe: core.NewPipe[*core.Invocation](0, 0, nil), untaken: map[*core.Invocation]untaken{},
	}
}

// announcement says who serves the procedure, and whether others may too.
func (reg *registration) announcement() string {
	if reg.single {
		return "single:" + reg.c.r.id
	}
	return "shared:" + reg.c.r.id
}

// claim announces us. Where somebody else serves the procedure alone, it looks whether
// that one is still there, which takes a few seconds.
func (reg *registration) claim(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, announceLife+answerTimeout)
	defer cancel()
	key, ours := reg.c.cfg.serverKey(reg.procedure.Name), reg.announcement()
	for {
		var holder string
		var left time.Duration
		err := reg.c.r.sys.keyed(ctx, key, func(r goredis.Cmdable) error {
			done, err := r.SetNX(ctx, key, ours, announceLife).Result()
			if done || err != nil {
				return err
			}
			holder, err = r.Get(ctx, key).Result()
			if errors.Is(err, goredis.Nil) {
				return nil
			}
			if err != nil {
				return err
			}
			if holder == ours || !reg.single && !strings.HasPrefix(holder, "single:") {
				holder = ""
				return r.Set(ctx, key, ours, announceLife).Err()
			}
			left, err = r.PTTL(ctx, key).Result()
			return err
		})
		if err != nil || holder == "" {
			return err
		}
		// Who is there renews it long before it ends.
		if wait := left - (announceLife - 2*announceEvery) + 100*time.Millisecond; wait > 0 {
			if renewed, err := reg.renewed(ctx, key, left, wait); err != nil || renewed {
				return errOr(err, core.Errorf(core.AlreadyExists, "somebody else serves procedure %s", reg.procedure.Name))
			}
		} else if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// renewed watches an announcement for a while and reports whether it lives longer than
// it did.
func (reg *registration) renewed(ctx context.Context, key string, left, wait time.Duration) (bool, error) {
	for end := time.Now().Add(wait); time.Now().Before(end); {
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return false, err
		}
		var now time.Duration
		err := reg.c.r.sys.keyed(ctx, key, func(r goredis.Cmdable) (err error) {
			now, err = r.PTTL(ctx, key).Result()
			return err
		})
		if err != nil || now > left {
			return now > left, err
		}
		left = now
	}
	return false, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return core.AsError(ctx.Err())
	}
}

// take hands a request to the host. It reports false if the registration is closed;
// otherwise the request's place is given free when it is answered.
func (reg *registration) take(raw []byte) bool {
	count := &reg.c.r.count
	m := parseMessage(raw)
	now := time.Now()
	switch {
	case m == nil:
		count.rpcMalformed.Add(1)
		reg.c.release(1)
		return true
	case m.ReplyTo != "" && (!strings.HasPrefix(m.ReplyTo, reg.c.cfg.replyKey("")) || len(m.ReplyTo) > maxReplyKey):
		// An answer there could damage what belongs to others.
		count.rpcMalformed.Add(1)
		reg.c.release(1)
		return true
	case m.expired(now):
		count.rpcExpired.Add(1)
		reg.c.release(1)
		return true
	}
	inv := &core.Invocation{
		ID: reg.c.r.nextID(), Procedure: reg.procedure, Payload: m.payload(), Details: callDetails(m),
	}
	if m.Deadline > 0 {
		inv.Timeout = min(time.UnixMilli(m.Deadline).Sub(now), requestLife)
	}
	reg.mu.Lock()
	defer reg.mu.Unlock()
	if reg.closed {
		return false
	}
	open := reg.c.invoked(m)
	inv.Reply = open.reply
	reg.untaken[inv] = untaken{open, raw}
	reg.pipe.TryPut(inv, 0)
	count.rpcIn.Add(1)
	return true
}

// callDetails tells who calls, as the caller says.
func callDetails(m *message) json.RawMessage {
	if m.From == "" {
		return nil
	}
	return append(core.AppendString([]byte(`{"caller":`), m.From), '}')
}

// Next implements core.Stream.
func (reg *registration) Next(ctx context.Context) ([]*core.Invocation, error) {
	items, err := reg.pipe.Next(ctx)
	reg.mu.Lock()
	defer reg.mu.Unlock()
	if err == nil && reg.closed {
		return nil, errClosed()
	}
	for _, inv := range items {
		delete(reg.untaken, inv)
	}
	return items, err
}

func errClosed() error { return core.Errorf(core.Unavailable, "the registration is closed") }

// Close implements core.Stream. Requests that the host has not taken are answered with
// Unavailable; if others may serve the procedure, they go back to Redis for them.
func (reg *registration) Close() error {
	reg.mu.Lock()
	first := !reg.closed
	reg.closed = true
	left := slices.Collect(maps.Values(reg.untaken))
	reg.untaken = nil
	reg.mu.Unlock()
	_ = reg.pipe.Close()
	if !first {
		return nil
	}
	var back [][]byte
	for _, u := range left {
		if reg.single {
			u.reply(nil, errClosed())
			continue
		}
		u.once.Do(func() {
			back = append(back, u.raw)
			u.forget()
		})
	}
	if len(back) > 0 {
		reg.c.putBack(reg.key, back)
	}
	reg.c.remove(reg)
	return nil
}
