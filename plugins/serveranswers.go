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
// plugin's side. Each request runs on a goroutine of its own; gate bounds them.
type answering[J, R any] struct {
	gate   *gate
	outbox *core.Pipe[R]
	pool   *workers[J]
	jobs   sync.WaitGroup

	// reply waits while too much is queued already: so a host that does not read
	// slows the backend down. It gives up when the stream ends.
	reply func(reply R, size int)
}

// newAnswering makes an answering for the stream with that context. run handles a
// request and returns its reply with its size.
func newAnswering[J, R any](ctx context.Context, g *gate, run func(J) (R, int)) *answering[J, R] {
	a := &answering[J, R]{gate: g, outbox: core.NewPipe[R](0, outboxBytes, nil)}
	a.reply = func(reply R, size int) { _ = a.outbox.Put(ctx, reply, size) }
	a.pool = newWorkers(func(job J) {
		defer a.jobs.Done()
		defer a.gate.leave()
		reply, size := run(job)
		a.reply(reply, size)
	})
	return a
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

// Publish implements pb.BackendServer.
func (s *server) Publish(stream pb.Backend_PublishServer) error {
	backend, name, _, err := s.opened()
	if err != nil {
		return err
	}
	running := newCancels()
	a := newAnswering(stream.Context(), &s.publishes, func(job publishJob) (publishReply, int) {
		given := job.event.ID
		err := s.publish(job.ctx, backend, job.event)
		running.remove(job.id)()
		reply := newPublishReply(job, given, err)
		return reply, reply.size()
	})
	inOrder := newSequences(s, backend, a, running)
	receive := func() error {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, e := range m.GetEvents() {
			if err := a.gate.enter(); err != nil {
				a.reply(publishReply{id: e.GetId(), err: err}, 0)
				continue
			}
			a.jobs.Add(1)
			ctx := running.add(stream.Context(), e.GetId(), time.Duration(e.GetTimeoutNanos()))
			job := publishJob{ctx, e.GetId(), eventFromPB(e, name)}
			if n := e.GetSequence(); n != 0 {
				inOrder.add(n, job)
			} else {
				a.pool.do(job)
			}
		}
		inOrder.start()
		running.cancel(m.GetCancel())
		return nil
	}
	return a.serve(stream.Context(), receive, &publishReplyBatch{stream: stream})
}

type publishJob struct {
	ctx   context.Context //nolint:containedctx // the job is an argument list on its way to another goroutine
	id    uint64
	event *core.Event
}

type publishReply struct {
	id       uint64
	eventID  string
	withheld bool
	err      error
}

// newPublishReply makes the reply to a job whose event had the ID given.
func newPublishReply(job publishJob, given string, err error) publishReply {
	r := publishReply{id: job.id, withheld: job.event.Withheld, err: err}
	if job.event.ID != given {
		r.eventID = job.event.ID
	}
	return r
}

func (r publishReply) size() int { return entryOverhead + len(r.eventID) + errorSize(r.err) }

// publish is backend.Publish behind a guard of its own: a closure for guard would
// cost an allocation for every event. The same goes for call.
func (s *server) publish(ctx context.Context, backend core.Backend, e *core.Event) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = s.panicked("publish", r)
		}
	}()
	return backend.Publish(ctx, e)
}

// Call implements pb.BackendServer.
func (s *server) Call(stream pb.Backend_CallServer) error {
	backend, name, maxItem, err := s.opened()
	if err != nil {
		return err
	}
	running := newCancels()
	a := newAnswering(stream.Context(), &s.calls, func(job callJob) (answer, int) {
		result, err := s.call(job.ctx, backend, job.call)
		running.remove(job.id)()
		reply := answer{job.id, result, err}.capped(maxItem)
		return reply, reply.size()
	})
	receive := func() error {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, c := range m.GetCalls() {
			if err := a.gate.enter(); err != nil {
				a.reply(answer{id: c.GetId(), err: err}, 0)
				continue
			}
			a.jobs.Add(1)
			ctx := running.add(stream.Context(), c.GetId(), time.Duration(c.GetTimeoutNanos()))
			a.pool.do(callJob{ctx, c.GetId(), callFromPB(c, name)})
		}
		running.cancel(m.GetCancel())
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
