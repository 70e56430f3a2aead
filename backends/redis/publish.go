package redis

import (
	"context"
	"sync"

	"github.com/anybridge/anybridge/core"
)

func (r *running) publish(ctx context.Context, e *core.Event) error {
	if s := r.streams[e.Topic.Name]; s != nil {
		return s.publish(ctx, e)
	}
	p := publishing{request: request{waiter: newWaiter(1)}}
	if err := r.begin(&p, e); err != nil {
		return err
	}
	p.waiter.wait(ctx)
	return r.complete(ctx, &p)
}

// publishBatch has every message on its way to a channel before it waits for any, and
// the entries of each stream in one round trip.
func (r *running) publishBatch(ctx context.Context, events []*core.Event) []error {
	errs := make([]error, len(events))
	all := newWaiter(len(events))
	begun := make([]publishing, len(events))
	streams := map[*streamReader][]int{}
	for i, e := range events {
		p := &begun[i]
		if s := r.streams[e.Topic.Name]; s != nil {
			streams[s] = append(streams[s], i)
		} else {
			p.waiter = all
			errs[i] = r.begin(p, e)
		}
		if p.waiter == nil || errs[i] != nil {
			p.waiter = nil
			all.done()
		}
	}
	r.appendTo(ctx, streams, events, errs)
	all.wait(ctx)
	for i := range begun {
		if p := &begun[i]; p.waiter != nil {
			errs[i] = r.complete(ctx, p)
		}
	}
	return errs
}

// appendTo appends to each stream the events with those indices. No stream waits for
// another.
func (r *running) appendTo(ctx context.Context, streams map[*streamReader][]int, events []*core.Event, errs []error) {
	var wg sync.WaitGroup
	for s, indices := range streams { // at most as many as the configuration has
		wg.Go(func() {
			its := make([]*core.Event, len(indices))
			for k, i := range indices {
				its[k] = events[i]
			}
			for k, err := range s.publishBatch(ctx, its) {
				errs[indices[k]] = err
			}
		})
	}
	wg.Wait()
}

// publishing is a message on its way to a channel.
type publishing struct {
	request
	echo *echo // nil where the message itself says that it is ours
}

func (r *running) begin(p *publishing, e *core.Event) (err error) {
	if err := checkPayload(e.Payload); err != nil {
		return err
	}
	cfg := r.cfg.Load()
	channel, format := e.Topic.Name, cfg.format(e.Topic.Name)
	message := format.encode(&envelope{payload: e.Payload, id: e.ID, from: r.id, via: e.Via})
	if len(message) > cfg.MaxMessage {
		return tooLong(len(message), cfg)
	}
	if format != FormatEnvelope {
		if on := r.in.listening(channel); len(on) > 0 {
			if p.echo, err = r.in.echoes.expect(channel, message, on); err != nil {
				return err
			}
		}
	}
	p.command = publishCommand(channel, message)
	if err = r.out.start(&p.request); err != nil {
		r.settle(p, false)
	}
	return err
}

func tooLong(n int, cfg *Config) error {
	return core.Errorf(core.TooLarge, "message of %d bytes: at most %d are allowed (max_message)", n, cfg.MaxMessage)
}

func publishCommand(channel string, message []byte) []byte {
	b := make([]byte, 0, len(channel)+len(message)+64)
	b = command(b, "PUBLISH", channel)
	b[1] = '3' // one argument more follows
	return appendBulk(b, message)
}

func (r *running) complete(ctx context.Context, p *publishing) error {
	err := p.outcome(ctx)
	// One whose fate is unknown may come back yet.
	code := core.CodeOf(err)
	r.settle(p, err == nil || code == core.Timeout || code == core.Canceled || code == core.Unavailable)
	if err == nil {
		r.count.published.Add(1)
	}
	return err
}

func (r *running) settle(p *publishing, published bool) {
	if p.echo != nil {
		r.in.echoes.answered(p.echo, published)
	}
}
