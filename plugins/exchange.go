package plugins

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
)

// request is an entry of the call or the publish stream on its way out: a call, an
// event, or, with neither, the cancellation of the one with that id.
type request struct {
	id      uint64
	call    *core.Call
	event   *core.Event
	timeout time.Duration // 0: none

	sequence uint64 // of an event: see pb.Event
}

func (r request) size() int {
	switch {
	case r.call != nil:
		return callSize(r.call)
	case r.event != nil:
		return eventSize(r.event)
	}
	return 0
}

// exchange ties the replies of one stream to those who wait for them. It belongs
// to one process and ends with it: then everybody who waits gets the reason.
type exchange[R any] struct {
	outbox   *core.Pipe[request]
	limit    int // of requests that wait
	chanPool sync.Pool

	mu      sync.Mutex
	lastID  uint64
	waiting map[uint64]chan *R
	ended   error
}

func newExchange[R any](limit int) *exchange[R] {
	return &exchange[R]{
		outbox:   core.NewPipe[request](0, outboxBytes, nil),
		limit:    limit,
		chanPool: sync.Pool{New: func() any { return make(chan *R, 1) }},
		waiting:  map[uint64]chan *R{},
	}
}

// do sends a request and waits for its reply, for ctx, or for the exchange's end.
func (x *exchange[R]) do(ctx context.Context, r request) (*R, error) {
	p, err := x.send(ctx, r)
	if err != nil {
		return nil, err
	}
	return x.await(ctx, p)
}

// sent is a request whose reply somebody is going to await.
type sent[R any] struct {
	id    uint64
	reply chan *R
}

// send queues a request. Whoever sends has to await, too.
func (x *exchange[R]) send(ctx context.Context, r request) (sent[R], error) {
	if err := ctx.Err(); err != nil {
		return sent[R]{}, core.AsError(err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		r.timeout = max(time.Until(deadline), 1)
	}
	reply := x.chanPool.Get().(chan *R)
	id, err := x.enter(reply)
	if err != nil {
		x.chanPool.Put(reply)
		return sent[R]{}, err
	}
	r.id = id
	if err := x.outbox.Put(ctx, r, r.size()); err != nil && ctx.Err() != nil && x.leave(id) {
		x.chanPool.Put(reply)
		return sent[R]{}, core.AsError(ctx.Err())
	}
	return sent[R]{id, reply}, nil
}

// await waits for the reply of a request that was sent, for ctx, or for the exchange's
// end.
func (x *exchange[R]) await(ctx context.Context, p sent[R]) (*R, error) {
	select {
	case m := <-p.reply:
		return x.received(p.reply, m)
	case <-ctx.Done():
	}
	if !x.leave(p.id) { // the reply was quicker
		return x.received(p.reply, <-p.reply)
	}
	x.chanPool.Put(p.reply)
	x.outbox.TryPut(request{id: p.id}, 0)
	return nil, core.AsError(ctx.Err())
}

func (x *exchange[R]) received(reply chan *R, m *R) (*R, error) {
	x.chanPool.Put(reply)
	if m == nil {
		x.mu.Lock()
		defer x.mu.Unlock()
		return nil, x.ended
	}
	return m, nil
}

func (x *exchange[R]) enter(reply chan *R) (uint64, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended != nil {
		return 0, x.ended
	}
	if len(x.waiting) >= x.limit {
		return 0, tooMany(x.limit)
	}
	x.lastID++
	x.waiting[x.lastID] = reply
	return x.lastID, nil
}

// leave reports whether nobody has taken the request's reply channel to answer it.
func (x *exchange[R]) leave(id uint64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, ok := x.waiting[id]
	delete(x.waiting, id)
	return ok
}

// complete hands a reply to the one who waits for it, if there still is one.
func (x *exchange[R]) complete(id uint64, m *R) {
	x.mu.Lock()
	reply := x.waiting[id]
	delete(x.waiting, id)
	x.mu.Unlock()
	if reply != nil {
		reply <- m
	}
}

// end answers everybody who waits, and everybody to come, with err.
func (x *exchange[R]) end(err error) {
	x.mu.Lock()
	if x.ended == nil {
		x.ended = err
	}
	waiting := x.waiting
	x.waiting = map[uint64]chan *R{}
	x.mu.Unlock()
	for _, reply := range waiting {
		reply <- nil
	}
	_ = x.outbox.Close()
}

func tooMany(limit int) *core.Error {
	return &core.Error{
		Code:       core.TooMany,
		Message:    "the backend has " + strconv.Itoa(limit) + " requests in flight already",
		RetryAfter: time.Second,
	}
}
