package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/internal/pb"
)

// client is the host's side of the wire to one process. When the process or one of
// its streams fails, all that is in flight is answered, and the client is of no
// more use.
type client struct {
	backend string
	limits  Limits
	rpc     pb.BackendClient
	subs    *feedTable[*core.Event]
	regs    *feedTable[*core.Invocation]

	publishes   *exchange[pb.PublishReply]
	sequences   atomic.Uint64
	calls       *exchange[pb.CallReply]
	subOutbox   *core.Pipe[feedMessage]
	regOutbox   *core.Pipe[feedMessage]
	invocations *invocations

	cancel    context.CancelFunc // of the streams
	streams   sync.WaitGroup
	finishing atomic.Bool // the end of a stream is no failure any more

	failOnce sync.Once
	failed   chan struct{}
	failure  error // set before failed is closed
}

func newClient(backend string, limits Limits, conn grpc.ClientConnInterface, subs *feedTable[*core.Event], regs *feedTable[*core.Invocation]) *client {
	regOutbox := core.NewPipe[feedMessage](0, 0, nil)
	return &client{
		backend:     backend,
		limits:      limits,
		rpc:         pb.NewBackendClient(conn),
		subs:        subs,
		regs:        regs,
		publishes:   newExchange[pb.PublishReply](limits.MaxInFlight),
		calls:       newExchange[pb.CallReply](limits.MaxInFlight),
		subOutbox:   core.NewPipe[feedMessage](0, 0, nil),
		regOutbox:   regOutbox,
		invocations: &invocations{backend: backend, limit: limits.MaxMessage, outbox: regOutbox, waiting: map[uint64]chan struct{}{}},
		cancel:      func() {},
		failed:      make(chan struct{}),
	}
}

// open opens the backend, or hands an open one its new configuration.
func (c *client) open(ctx context.Context, config json.RawMessage) (core.Info, error) {
	m, err := c.rpc.Open(ctx, &pb.OpenRequest{
		Name:          c.backend,
		Config:        config,
		MaxInFlight:   uint32(c.limits.MaxInFlight),
		MaxEntryBytes: uint32(c.limits.MaxMessage),
	})
	if err != nil {
		return core.Info{}, errorFromStatus(err)
	}
	return infoFromPB(m), nil
}

// run opens the four streams and serves them until the process fails or finish is
// called.
func (c *client) run() error {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	err := c.startStreams(ctx)
	if err != nil {
		c.fail(err)
		c.streams.Wait()
	}
	return err
}

func (c *client) startStreams(ctx context.Context) error {
	publish, err := c.rpc.Publish(ctx)
	if err != nil {
		return errorFromStatus(err)
	}
	subscribe, err := c.rpc.Subscribe(ctx)
	if err != nil {
		return errorFromStatus(err)
	}
	call, err := c.rpc.Call(ctx)
	if err != nil {
		return errorFromStatus(err)
	}
	register, err := c.rpc.Register(ctx)
	if err != nil {
		return errorFromStatus(err)
	}
	send(ctx, c, publish, c.publishes.outbox, &publishBatch{stream: publish})
	send(ctx, c, subscribe, c.subOutbox, &subscribeBatch{stream: subscribe})
	send(ctx, c, call, c.calls.outbox, &callBatch{stream: call})
	send(ctx, c, register, c.regOutbox, &registerBatch{stream: register})
	receive(c, publish.Recv, c.published)
	receive(c, subscribe.Recv, c.events)
	receive(c, call.Recv, c.called)
	receive(c, register.Recv, c.invoked)
	return nil
}

// send runs the pump of one stream. When the stream has failed the reason shows on
// the receiving side.
func send[T any](ctx context.Context, c *client, stream grpc.ClientStream, outbox *core.Pipe[T], b batch[T]) {
	c.streams.Go(func() {
		if err := pump(ctx, outbox, b); err != nil && !errors.Is(err, io.EOF) {
			c.fail(errorFromStatus(err))
		}
		_ = stream.CloseSend()
	})
}

// receive hands out what arrives on one stream. An orderly end is one that finish
// has asked for.
func receive[M any](c *client, recv func() (*M, error), handle func(*M) error) {
	c.streams.Go(func() {
		for {
			m, err := recv()
			if err == nil {
				err = handle(m)
			}
			if err != nil {
				if errors.Is(err, io.EOF) {
					if c.finishing.Load() {
						return
					}
					err = core.Errorf(core.Unavailable, "the plugin ended a stream")
				}
				c.fail(errorFromStatus(err))
				return
			}
		}
	})
}

func (c *client) published(m *pb.PublishReplyBatch) error {
	for _, r := range m.GetReplies() {
		c.publishes.complete(r.GetId(), r)
	}
	return nil
}

func (c *client) called(m *pb.CallReplyBatch) error {
	for _, r := range m.GetReplies() {
		c.calls.complete(r.GetId(), r)
	}
	return nil
}

func (c *client) events(m *pb.EventBatch) error {
	for _, r := range m.GetOpened() {
		c.subs.opened(r.GetId(), r.GetConfirms(), errorFromPB(r.GetError()))
	}
	for _, e := range m.GetEvents() {
		if err := c.subs.deliver(e.GetId(), eventFromPB(e, c.backend)); err != nil {
			return err
		}
	}
	for _, r := range m.GetEnded() {
		c.subs.ended(r.GetId(), errorFromPB(r.GetError()))
	}
	return nil
}

func (c *client) invoked(m *pb.InvocationBatch) error {
	for _, r := range m.GetOpened() {
		c.regs.opened(r.GetId(), false, errorFromPB(r.GetError()))
	}
	for _, inv := range m.GetInvocations() {
		if err := c.regs.deliver(inv.GetFeed(), c.invocations.receive(inv)); err != nil {
			return err
		}
	}
	for _, id := range m.GetCanceled() {
		c.invocations.cancel(id)
	}
	for _, r := range m.GetEnded() {
		c.regs.ended(r.GetId(), errorFromPB(r.GetError()))
	}
	return nil
}

func (c *client) publish(ctx context.Context, e *core.Event) error {
	if n := eventSize(e); n > c.limits.MaxMessage {
		return tooLarge("event", n, c.limits.MaxMessage)
	}
	reply, err := c.publishes.do(ctx, request{event: e})
	if err != nil {
		return err
	}
	return published(e, reply)
}

// publishBatch sends the events in their order and waits for all replies.
func (c *client) publishBatch(ctx context.Context, events []*core.Event) []error {
	errs := make([]error, len(events))
	waiting := make([]sent[pb.PublishReply], len(events))
	sequence := c.sequences.Add(1)
	for i, e := range events {
		if n := eventSize(e); n > c.limits.MaxMessage {
			errs[i] = tooLarge("event", n, c.limits.MaxMessage)
			continue
		}
		waiting[i], errs[i] = c.publishes.send(ctx, request{event: e, sequence: sequence})
	}
	for i, e := range events {
		if errs[i] != nil {
			continue
		}
		reply, err := c.publishes.await(ctx, waiting[i])
		if err == nil {
			err = published(e, reply)
		}
		errs[i] = err
	}
	return errs
}

// published notes in the event what the backend says of it.
func published(e *core.Event, reply *pb.PublishReply) error {
	if err := errorFromPB(reply.GetError()); err != nil {
		return err
	}
	if id := reply.GetEventId(); id != "" {
		e.ID = id
	}
	e.Withheld = reply.GetWithheld()
	return nil
}

func (c *client) call(ctx context.Context, call *core.Call) (*core.Result, error) {
	if n := callSize(call); n > c.limits.MaxMessage {
		return nil, tooLarge("call", n, c.limits.MaxMessage)
	}
	reply, err := c.calls.do(ctx, request{call: call})
	if err != nil {
		return nil, err
	}
	return resultFromPB(reply)
}

func (c *client) status(ctx context.Context) (core.Status, error) {
	m, err := c.rpc.Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return core.Status{}, errorFromStatus(err)
	}
	return core.Status{State: core.State(m.GetState()), Reason: m.GetReason(), Counters: m.GetCounters()}, nil
}

// finish closes the backend and waits until everything that it still said has
// arrived, or ctx ends.
func (c *client) finish(ctx context.Context) error {
	_, err := c.rpc.Close(ctx, &pb.CloseRequest{})
	c.finishing.Store(true)
	c.publishes.outbox.End(nil)
	c.calls.outbox.End(nil)
	c.subOutbox.End(nil)
	c.regOutbox.End(nil)
	done := make(chan struct{})
	go func() {
		c.streams.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	c.fail(c.gone("was stopped"))
	<-done
	return errorFromStatus(err)
}

// fail ends the client: everybody who waits gets an answer now.
func (c *client) fail(err error) {
	c.failOnce.Do(func() {
		c.failure = err
		close(c.failed)
		gone := c.gone("stopped unexpectedly and is being restarted")
		c.publishes.end(gone)
		c.calls.end(gone)
		_ = c.subOutbox.Close()
		_ = c.regOutbox.Close()
		c.invocations.end()
		c.cancel()
	})
}

// gone is what those get who were waiting for an answer: nobody knows whether the
// system has got their message.
func (c *client) gone(how string) *core.Error {
	return &core.Error{
		Code:       core.Unavailable,
		Message:    "backend \"" + c.backend + "\" " + how + "; it is not known what became of the request",
		RetryAfter: time.Second,
	}
}

func tooLarge(what string, size, limit int) *core.Error {
	return core.Errorf(core.TooLarge, "the %s has %d bytes: at most %d are allowed", what, size, limit)
}
