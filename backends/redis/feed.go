package redis

import (
	"context"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
)

// feed is one subscription of the host: its events come from a channel, from a
// pattern of channels, from Redis streams, or from several of them.
type feed struct {
	pattern core.Pattern
	count   *counters
	pipe    *core.Pipe[item]
	onClose func(*feed)

	mu  sync.Mutex
	gap *core.Gap // that waits for room in pipe

	events []*core.Event // handed out last

	confirms bool // some of it comes from streams
	outMu    sync.Mutex
	out      []*entry // handed out and not confirmed, in order; nil for what is of a channel
}

// channelFeed is a feed of channels alone: it has no Confirm, since Redis keeps nothing
// for it.
type channelFeed struct{ core.Stream[*core.Event] }

// item is what waits in a feed.
type item struct {
	event *core.Event
	entry *entry // of a stream; nil for a channel
}

const itemOverhead = 256

func newFeed(p core.Pattern, cfg *Config, count *counters, onClose func(*feed)) *feed {
	f := &feed{pattern: p, count: count, onClose: onClose}
	f.pipe = core.NewPipe[item](cfg.MaxQueuedEvents, cfg.MaxQueuedBytes, func() { onClose(f) })
	return f
}

// Next implements core.Stream.
func (f *feed) Next(ctx context.Context) ([]*core.Event, error) {
	items, err := f.pipe.Next(ctx)
	if err != nil {
		return nil, err
	}
	clear(f.events)
	f.events = f.events[:0]
	f.outMu.Lock()
	defer f.outMu.Unlock()
	for _, it := range items {
		f.events = append(f.events, it.event)
		if f.confirms {
			f.out = append(f.out, it.entry)
		}
	}
	return f.events, nil
}

// Confirm implements core.Confirmer: entries of streams are acknowledged then.
func (f *feed) Confirm(n int) {
	f.outMu.Lock()
	confirmed := f.out[:min(n, len(f.out))]
	f.out = f.out[len(confirmed):]
	f.outMu.Unlock()
	for _, e := range confirmed {
		if e != nil {
			e.reader.taken(e, f)
		}
	}
}

// Close implements core.Stream.
func (f *feed) Close() error { return f.pipe.Close() }

func sizeOf(e *core.Event) int {
	return itemOverhead + len(e.Topic.Name) + e.Size() + len(e.Details)
}

// put appends an event from a channel, or counts it as lost.
func (f *feed) put(e *core.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.putGapLocked() && f.pipe.TryPut(item{event: e}, sizeOf(e)) {
		f.count.received.Add(1)
		return
	}
	f.count.dropped.Add(1)
	now := time.Now()
	f.noteLocked(&core.Gap{Since: now, Until: now, Lost: 1, Reason: "the queue of the subscription was full"})
}

// note reports a gap as soon as there is room for it.
func (f *feed) note(g *core.Gap) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noteLocked(g)
	f.putGapLocked()
}

// flush reports what could not be reported before.
func (f *feed) flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.putGapLocked()
}

func (f *feed) noteLocked(g *core.Gap) {
	if f.gap == nil {
		f.count.gaps.Add(1)
		f.gap = g
		return
	}
	merged := *f.gap
	merged.Lost += g.Lost
	if g.Since.Before(merged.Since) {
		merged.Since = g.Since
	}
	if g.Until.After(merged.Until) {
		merged.Until = g.Until
	}
	if merged.Reason != g.Reason {
		merged.Reason = "several reasons, the last of which: " + g.Reason
	}
	f.gap = &merged
}

// putGapLocked reports whether no gap waits any more.
func (f *feed) putGapLocked() bool {
	if f.gap == nil {
		return true
	}
	e := &core.Event{Topic: f.pattern.Address, Time: f.gap.Until, Gap: f.gap}
	if !f.pipe.TryPut(item{event: e}, itemOverhead+len(f.gap.Reason)) {
		return false
	}
	f.gap = nil
	return true
}
