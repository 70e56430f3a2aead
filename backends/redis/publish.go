package redis

import (
	"context"

	"github.com/anybridge/anybridge/core"
)

func (r *running) publish(ctx context.Context, e *core.Event) error {
	if s := r.streams[e.Topic.Name]; s != nil {
		return s.publish(ctx, e)
	}
	p, err := r.begin(e)
	if err != nil {
		return err
	}
	return r.complete(ctx, p)
}

// publishBatch has every message on its way before it waits for the first.
func (r *running) publishBatch(ctx context.Context, events []*core.Event) []error {
	errs := make([]error, len(events))
	begun := make([]publishing, len(events))
	for i, e := range events {
		if s := r.streams[e.Topic.Name]; s != nil {
			errs[i] = s.publish(ctx, e)
			continue
		}
		begun[i], errs[i] = r.begin(e)
	}
	for i := range events {
		if begun[i].request != nil {
			errs[i] = r.complete(ctx, begun[i])
		}
	}
	return errs
}

// publishing is a message on its way to a channel.
type publishing struct {
	request *request
	echo    *echo // nil where the message itself says that it is ours
}

func (r *running) begin(e *core.Event) (p publishing, err error) {
	if err := checkPayload(e.Payload); err != nil {
		return p, err
	}
	cfg := r.cfg.Load()
	channel, format := e.Topic.Name, cfg.format(e.Topic.Name)
	message := format.encode(&envelope{payload: e.Payload, id: e.ID, from: r.id, via: e.Via})
	if len(message) > cfg.MaxMessage {
		return p, tooLong(len(message), cfg)
	}
	if format != FormatEnvelope {
		if on := r.in.listening(channel); len(on) > 0 {
			if p.echo, err = r.in.echoes.expect(channel, message, on); err != nil {
				return p, err
			}
		}
	}
	if p.request, err = r.out.start(publishCommand(channel, message)); err != nil {
		r.settle(p, false)
	}
	return p, err
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

func (r *running) complete(ctx context.Context, p publishing) error {
	err := p.request.wait(ctx)
	// One whose fate is unknown may come back yet.
	code := core.CodeOf(err)
	r.settle(p, err == nil || code == core.Timeout || code == core.Canceled || code == core.Unavailable)
	if err == nil {
		r.count.published.Add(1)
	}
	return err
}

func (r *running) settle(p publishing, published bool) {
	if p.echo != nil {
		r.in.echoes.answered(p.echo, published)
	}
}
