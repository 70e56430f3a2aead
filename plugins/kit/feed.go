package kit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Feed is the stream of a subscription that holds up nobody: what comes in while it is
// full is dropped, counted, and told as a gap at its place among the events. It
// implements core.Stream. All methods may be called concurrently.
type Feed struct {
	pattern core.Pattern
	counts  *FeedCounts
	pipe    *core.Pipe[*core.Event]

	mu  sync.Mutex
	gap *core.Event // that waits for room in the pipe
}

// FeedCounts adds up what happens in all feeds of a backend, for its Status. The zero
// value is ready.
type FeedCounts struct {
	Events  atomic.Int64 // that were put into a feed
	Dropped atomic.Int64 // that found no room
	Gaps    atomic.Int64 // that were told
}

// eventOverhead is what an event costs beside its texts, about, in bytes.
const eventOverhead = 256

// overflow is the reason of the gaps that a feed makes itself.
const overflow = "the queue of the subscription was full"

// NewFeed makes the stream of a subscription to the pattern for at most maxEvents that
// wait, of at most maxBytes together (0 = no such bound). An event counts its payload,
// details and name, and 256 bytes. counts may be nil; onClose, if not nil, is called
// once, by Close, and unsubscribes.
func NewFeed(p core.Pattern, maxEvents, maxBytes int, counts *FeedCounts, onClose func()) *Feed {
	if counts == nil {
		counts = &FeedCounts{}
	}
	return &Feed{pattern: p, counts: counts, pipe: core.NewPipe[*core.Event](maxEvents, maxBytes, onClose)}
}

// Pattern is what the feed was made for.
func (f *Feed) Pattern() core.Pattern { return f.pattern }

// Put appends an event, or drops it if there is no room. It never waits. An event that is
// a gap is not dropped: see Missed.
func (f *Feed) Put(e *core.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Gap != nil {
		f.missedLocked(e.Topic, *e.Gap)
		f.tellLocked()
		return
	}
	if f.tellLocked() && f.pipe.TryPut(e, sizeOf(e)) {
		f.counts.Events.Add(1)
		return
	}
	f.counts.Dropped.Add(1)
	now := time.Now()
	f.missedLocked(f.pattern.Address, core.Gap{Since: now, Until: now, Lost: 1, Reason: overflow})
}

// Missed tells the subscriber, after the events that came before, that the feed could
// not hear: of a lost connection, or a message that could not be read. Gaps that wait
// for room become one, which knows the number of lost events as far as they did.
func (f *Feed) Missed(g core.Gap) { f.Put(&core.Event{Topic: f.pattern.Address, Gap: &g}) }

// Wait appends an event as soon as there is room: for what comes from where it can stay
// meanwhile. It waits until ctx ends, and returns the feed's end as an error.
func (f *Feed) Wait(ctx context.Context, e *core.Event) error {
	f.mu.Lock()
	gap := f.gap
	f.gap = nil
	f.mu.Unlock()
	if gap != nil {
		if err := f.pipe.Put(ctx, gap, sizeOf(gap)); err != nil {
			f.Put(gap)
			return err
		}
	}
	err := f.pipe.Put(ctx, e, sizeOf(e))
	if err == nil {
		f.counts.Events.Add(1)
	}
	return err
}

func (f *Feed) missedLocked(topic core.Address, g core.Gap) {
	if f.gap == nil {
		f.counts.Gaps.Add(1)
		f.gap = &core.Event{Topic: topic, Time: g.Until, Gap: &g}
		return
	}
	first := f.gap.Gap
	if topic != f.gap.Topic {
		f.gap.Topic = f.pattern.Address
	}
	first.Lost += g.Lost
	if g.Since.Before(first.Since) {
		first.Since = g.Since
	}
	if g.Until.After(first.Until) {
		first.Until, f.gap.Time = g.Until, g.Until
	}
	if g.Reason != overflow {
		first.Reason = g.Reason // the system's says more than ours
	}
}

// tellLocked reports whether no gap waits any more.
func (f *Feed) tellLocked() bool {
	if f.gap != nil {
		if !f.pipe.TryPut(f.gap, sizeOf(f.gap)) {
			return false
		}
		f.gap = nil
	}
	return true
}

// Next implements core.Stream. It makes room, so it is also who tells a gap when nothing
// more comes in.
func (f *Feed) Next(ctx context.Context) ([]*core.Event, error) {
	f.mu.Lock()
	f.tellLocked()
	f.mu.Unlock()
	return f.pipe.Next(ctx)
}

// Close implements core.Stream: it unsubscribes and drops what waits.
func (f *Feed) Close() error { return f.pipe.Close() }

// End ends the feed from the system's side: what waits can still be taken, then Next
// returns err, or io.EOF for nil.
func (f *Feed) End(err error) { f.pipe.End(err) }

func sizeOf(e *core.Event) int {
	size := eventOverhead + len(e.Topic.Name) + e.Size() + len(e.Details)
	if e.Gap != nil {
		size += len(e.Gap.Reason)
	}
	return size
}
