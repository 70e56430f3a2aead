package plugins

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/internal/pb"
)

// answering is one stream of requests and their replies, Publish or Call, on the
// plugin's side. Each job, of one request or more, runs on a goroutine of its own; gate
// bounds the requests.
type answering[J, R any] struct {
	gate    *gate
	outbox  *core.Pipe[R]
	pool    *workers[J]
	jobs    sync.WaitGroup // requests that were entered and not answered
	running *cancels

	// reply waits while too much is queued already: so a host that does not read
	// slows the backend down. It gives up when the stream ends.
	reply func(reply R, size int)
}

// newAnswering makes an answering for the stream with that context. run handles a job
// and calls answered for each of its requests.
func newAnswering[J, R any](ctx context.Context, g *gate, run func(*answering[J, R], J)) *answering[J, R] {
	a := &answering[J, R]{gate: g, outbox: core.NewPipe[R](0, outboxBytes, nil), running: newCancels()}
	a.reply = func(reply R, size int) { _ = a.outbox.Put(ctx, reply, size) }
	a.pool = newWorkers(func(job J) { run(a, job) })
	return a
}

// enter lets a request in, or answers it with refused.
func (a *answering[J, R]) enter(refused func(error) R) bool {
	if err := a.gate.enter(); err != nil {
		a.reply(refused(err), 0)
		return false
	}
	a.jobs.Add(1)
	return true
}

// answered replies to a request that was entered.
func (a *answering[J, R]) answered(id uint64, reply R, size int) {
	a.running.end(id)
	a.reply(reply, size)
	a.gate.leave()
	a.jobs.Done()
}

// serve reads requests until the host has no more, then waits for the replies to
// those it has read.
func (a *answering[J, R]) serve(ctx context.Context, receive func() error, b batch[R]) error {
	sent := make(chan error, 1)
	go func() { sent <- pump(ctx, a.outbox, b) }()
	var err error
	for err == nil {
		err = receive()
	}
	if !errors.Is(err, io.EOF) {
		_ = a.outbox.Close() // nobody reads replies any more; contexts are cancelled
	}
	a.jobs.Wait()
	a.pool.close()
	a.outbox.End(nil)
	return errors.Join(unlessEOF(err), <-sent)
}

func unlessEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Call implements pb.BackendServer.
func (s *server) Call(stream pb.Backend_CallServer) error {
	backend, name, maxItem, err := s.opened()
	if err != nil {
		return err
	}
	a := newAnswering(stream.Context(), &s.calls, func(a *answering[callJob, answer], job callJob) {
		result, err := s.call(job.ctx, backend, job.call)
		reply := answer{job.id, result, err}.capped(maxItem)
		a.answered(job.id, reply, reply.size())
	})
	receive := func() error {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, c := range m.GetCalls() {
			id := c.GetId()
			if !a.enter(func(err error) answer { return answer{id: id, err: err} }) {
				continue
			}
			ctx, own := a.running.open(stream.Context(), time.Duration(c.GetTimeoutNanos()))
			a.running.add(own, id)
			a.pool.do(callJob{ctx, id, callFromPB(c, name)})
		}
		a.running.end(m.GetCancel()...)
		return nil
	}
	return a.serve(stream.Context(), receive, &callReplyBatch{stream: stream})
}

type callJob struct {
	ctx  context.Context //nolint:containedctx // the job is an argument list on its way to another goroutine
	id   uint64
	call *core.Call
}

func (s *server) call(ctx context.Context, backend core.Backend, c *core.Call) (result *core.Result, err error) {
	defer func() {
		if r := recover(); r != nil {
			result, err = nil, s.panicked("call", r)
		}
	}()
	return backend.Call(ctx, c)
}
