package redis

import (
	"context"
	"sync"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// feed is one subscription of the host: its events come from a channel, from a
// pattern of channels, from Redis streams, or from several of them.
type feed struct {
	*kit.Feed

	confirms bool // some of it comes from streams
	mu       sync.Mutex
	waiting  map[*core.Event]*entry // of streams, and not handed out
	out      []*entry               // handed out and not confirmed, in order; nil for what is of a channel
}

// channelFeed is a feed of channels alone: it has no Confirm, since Redis keeps nothing
// for it.
type channelFeed struct{ core.Stream[*core.Event] }

func newFeed(p core.Pattern, cfg *Config, count *counters, onClose func(*feed)) *feed {
	f := &feed{waiting: map[*core.Event]*entry{}}
	f.Feed = kit.NewFeed(p, cfg.MaxQueuedEvents, cfg.MaxQueuedBytes, &count.feeds, func() { onClose(f) })
	return f
}

// wait appends an entry of a stream as soon as there is room: it waits in Redis as well
// as here, so nothing is dropped.
func (f *feed) wait(ctx context.Context, e *core.Event, of *entry) error {
	f.mu.Lock()
	f.waiting[e] = of
	f.mu.Unlock()
	err := f.Wait(ctx, e)
	if err != nil {
		f.mu.Lock()
		delete(f.waiting, e)
		f.mu.Unlock()
	}
	return err
}

// Next implements core.Stream.
func (f *feed) Next(ctx context.Context) ([]*core.Event, error) {
	events, err := f.Feed.Next(ctx)
	if !f.confirms {
		return events, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		f.out = append(f.out, f.waiting[e])
		delete(f.waiting, e)
	}
	return events, err
}

// Confirm implements core.Confirmer: entries of streams are acknowledged then.
func (f *feed) Confirm(n int) {
	f.mu.Lock()
	confirmed := f.out[:min(n, len(f.out))]
	f.out = f.out[len(confirmed):]
	f.mu.Unlock()
	for _, e := range confirmed {
		if e != nil {
			e.reader.taken(e, f)
		}
	}
}
