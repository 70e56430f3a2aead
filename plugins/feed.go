package plugins

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/internal/pb"
)

// feed is one subscription or registration of the bridge. It outlives processes:
// its stream goes on when a fresh process has taken it over.
//
// What may wait in its pipe is bounded by credit: the plugin may send only what
// the consumer has made room for. So the demultiplexer never waits for a consumer,
// a consumer that waits for another subscription of the same backend cannot lock
// itself out, and nothing is dropped.
type feed[T comparable] struct {
	table   *feedTable[T]
	pattern core.Pattern
	invoke  string
	pipe    *core.Pipe[T]

	// Guarded by table.mu.
	id       uint64     // on the present process; 0 while it has none there
	answer   chan error // gets the first answer; nil afterwards
	unread   int        // what waits in pipe
	owed     int        // taken from pipe, and credit not given for it yet
	untaken  map[T]struct{}
	confirms bool // the present process wants to know what is confirmed
	former   int  // handed in by former processes, and not confirmed
	present  int  // handed in by the present one, and not confirmed
	refusals int  // of the present replay
	refused  time.Time
	retry    *time.Timer
	deaf     time.Time // since when no process has had it, though one had before; or zero
}

// Next implements core.Stream.
func (f *feed[T]) Next(ctx context.Context) ([]T, error) {
	items, err := f.pipe.Next(ctx)
	if err != nil {
		return nil, err
	}
	f.table.taken(f, items)
	return items, nil
}

// Confirm implements core.Confirmer.
func (f *feed[T]) Confirm(n int) { f.table.confirm(f, n) }

// Close implements core.Stream. It does not wait for the plugin; a later feed with
// the same pattern is opened there after this one is closed.
func (f *feed[T]) Close() error {
	f.table.close(f)
	return nil
}

// feedMessage is an entry of the subscribe or the register stream on its way out:
// one of these.
type feedMessage struct {
	open   *pb.Feed
	credit *pb.Credit
	done   *pb.Confirmation
	close  uint64
	answer answer
}

// feedTable holds all feeds of one kind, and has every process in turn open them.
type feedTable[T comparable] struct {
	window     int           // credit of a feed, in bytes
	maxItem    int           // bytes
	maxWait    time.Duration // of a first answer
	size       func(T) int
	drop       func(T)                                 // called with what a closed feed leaves behind; may be nil
	gap        func(p core.Pattern, since time.Time) T // what tells of a time without a process; may be nil
	log        *slog.Logger
	replayTime time.Duration // how long a replay may be refused with AlreadyExists

	mu     sync.Mutex
	lastID uint64 // never used again, so that a late message of a dead process finds nothing
	feeds  map[*feed[T]]struct{}
	byID   map[uint64]*feed[T]
	outbox *core.Pipe[feedMessage] // to the present process; nil while there is none
	closed error
}

// replayTime is how long somebody else may hold a procedure that was ours before
// the restart: a router needs some time to see that the old connection is dead.
const replayTime = time.Minute

func newFeedTable[T comparable](l Limits, size func(T) int, drop func(T), log *slog.Logger) *feedTable[T] {
	return &feedTable[T]{
		window:     l.Window,
		maxItem:    l.MaxMessage,
		maxWait:    l.StartTimeout,
		size:       size,
		drop:       drop,
		log:        log,
		replayTime: replayTime,
		feeds:      map[*feed[T]]struct{}{},
		byID:       map[uint64]*feed[T]{},
	}
}

// add opens a feed and waits for the plugin's answer. While there is no process it
// waits for the next one.
func (t *feedTable[T]) add(ctx context.Context, p core.Pattern, invoke string) (*feed[T], error) {
	answer := make(chan error, 1)
	f := &feed[T]{table: t, pattern: p, invoke: invoke, answer: answer, pipe: core.NewPipe[T](0, 0, nil)}
	if t.drop != nil {
		f.untaken = map[T]struct{}{}
	}
	t.mu.Lock()
	if t.closed != nil {
		defer t.mu.Unlock()
		return nil, t.closed
	}
	t.feeds[f] = struct{}{}
	t.request(f)
	t.mu.Unlock()

	tooLong := time.NewTimer(t.maxWait)
	defer tooLong.Stop()
	select {
	case err := <-answer:
		if err != nil {
			return nil, err
		}
		return f, nil
	case <-ctx.Done():
		t.close(f)
		return nil, core.AsError(ctx.Err())
	case <-tooLong.C:
		t.close(f)
		return nil, core.Errorf(core.Unavailable, "backend %q did not answer within %s", p.Backend, t.maxWait)
	}
}

// request asks the present process, if there is one, to open the feed. t.mu is held.
func (t *feedTable[T]) request(f *feed[T]) {
	if t.outbox == nil {
		return
	}
	t.lastID++
	f.id, f.owed = t.lastID, 0
	t.byID[f.id] = f
	match := f.pattern.Match
	if match == "" {
		match = core.Exact
	}
	t.outbox.TryPut(feedMessage{open: &pb.Feed{
		Id:     f.id,
		Name:   text(f.pattern.Name),
		Match:  string(match),
		Invoke: f.invoke,
		Credit: uint64(max(0, t.window-f.unread)),
	}}, 0)
}

// attach has a fresh process open every feed.
func (t *feedTable[T]) attach(outbox *core.Pipe[feedMessage]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outbox = outbox
	for f := range t.feeds {
		t.request(f)
	}
}

// detach forgets the process; the feeds stay.
func (t *feedTable[T]) detach() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outbox = nil
	clear(t.byID)
	for f := range t.feeds {
		if f.deaf.IsZero() && f.answer == nil {
			f.deaf = time.Now()
		}
		f.id, f.refusals = 0, 0
		f.former, f.present, f.confirms = f.former+f.present, 0, false
		f.stopRetry()
	}
}

func (f *feed[T]) stopRetry() {
	if f.retry != nil {
		f.retry.Stop()
		f.retry = nil
	}
}

// opened takes the plugin's answer to request. A replay that is refused for a
// reason that passes is tried again; for any other reason the stream ends.
func (t *feedTable[T]) opened(id uint64, confirms bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.byID[id]
	if f == nil {
		return
	}
	if err == nil {
		f.refusals, f.confirms = 0, confirms
		t.tellGap(f)
		f.firstAnswer(nil)
		return
	}
	delete(t.byID, id)
	f.id = 0
	if f.answer != nil {
		delete(t.feeds, f)
		f.pipe.End(err)
		f.firstAnswer(err)
		return
	}
	if f.refusals == 0 {
		f.refused = time.Now()
	}
	if !t.passes(f, err) {
		t.log.Error("feed not restored", slog.String("pattern", f.pattern.String()), slog.Any("error", err))
		delete(t.feeds, f)
		f.pipe.End(err)
		return
	}
	wait := backoff(100*time.Millisecond, 5*time.Second, f.refusals)
	f.refusals++
	t.log.Warn("feed refused, trying again", slog.String("pattern", f.pattern.String()), slog.Any("error", err), slog.Duration("wait", wait))
	f.retry = time.AfterFunc(wait, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if _, ok := t.feeds[f]; ok && f.id == 0 {
			t.request(f)
		}
	})
}

// processGap tells that no process could hear.
func processGap(p core.Pattern, since time.Time) *core.Event {
	now := time.Now()
	return &core.Event{Topic: p.Address, Time: now, Gap: &core.Gap{Since: since, Until: now, Reason: "the backend's process was replaced"}}
}

// tellGap puts a gap into a feed that no process has had for a while: a system that has
// nothing confirmed does not bring back what it sent meanwhile. t.mu is held.
func (t *feedTable[T]) tellGap(f *feed[T]) {
	since := f.deaf
	f.deaf = time.Time{}
	if t.gap == nil || since.IsZero() || f.confirms {
		return
	}
	item := t.gap(f.pattern, since)
	size := t.size(item)
	f.unread += size
	f.present++
	f.pipe.TryPut(item, size)
}

func (f *feed[T]) firstAnswer(err error) {
	if f.answer != nil {
		f.answer <- err
		f.answer = nil
	}
}

func (t *feedTable[T]) passes(f *feed[T], err error) bool {
	switch core.CodeOf(err) {
	case core.Unavailable, core.Timeout, core.TooMany, core.Canceled:
		return true
	case core.AlreadyExists:
		return time.Since(f.refused) < t.replayTime
	}
	return false
}

// ended takes the plugin's word that a feed is over.
func (t *feedTable[T]) ended(id uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.byID[id]
	if f == nil {
		return
	}
	delete(t.byID, id)
	delete(t.feeds, f)
	f.id = 0
	f.pipe.End(err)
	f.firstAnswer(core.Errorf(core.Unavailable, "the backend ended %s at once", f.pattern))
	t.log.Warn("feed ended by the backend", slog.String("pattern", f.pattern.String()), slog.Any("error", err))
}

// deliver hands an item to its feed. It never waits; the error says that the
// plugin has sent more than its credit allows.
func (t *feedTable[T]) deliver(id uint64, item T) error {
	t.mu.Lock()
	f := t.byID[id]
	if f == nil {
		t.mu.Unlock()
		if t.drop != nil {
			t.drop(item)
		}
		return nil
	}
	defer t.mu.Unlock()
	if f.unread > t.window+t.maxItem+entryOverhead {
		return core.Errorf(core.Internal, "sent %d bytes for %s with a credit of %d", f.unread, f.pattern, t.window)
	}
	size := t.size(item)
	f.unread += size
	f.present++
	if f.untaken != nil {
		f.untaken[item] = struct{}{}
	}
	f.pipe.TryPut(item, size)
	return nil
}

// taken gives the plugin credit for what the consumer has taken, in portions of a
// quarter of the window.
func (t *feedTable[T]) taken(f *feed[T], items []T) {
	size := 0
	for _, item := range items {
		size += t.size(item)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, item := range items {
		delete(f.untaken, item)
	}
	f.unread -= size
	f.owed += size
	if f.owed >= t.window/4 && f.id != 0 && t.outbox != nil {
		t.outbox.TryPut(feedMessage{credit: &pb.Credit{Id: f.id, Bytes: uint64(f.owed)}}, 0)
		f.owed = 0
	}
}

// confirm tells the plugin what the consumer has taken charge of, if the present process
// has handed it in.
func (t *feedTable[T]) confirm(f *feed[T], n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	former := min(n, f.former)
	f.former -= former
	n = min(n-former, f.present)
	f.present -= n
	if n > 0 && f.confirms && f.id != 0 && t.outbox != nil {
		t.outbox.TryPut(feedMessage{done: &pb.Confirmation{Id: f.id, Count: uint64(n)}}, 0)
	}
}

func (t *feedTable[T]) close(f *feed[T]) {
	t.mu.Lock()
	if _, ok := t.feeds[f]; ok {
		delete(t.feeds, f)
		f.stopRetry()
		if f.id != 0 {
			delete(t.byID, f.id)
			t.outbox.TryPut(feedMessage{close: f.id}, 0)
			f.id = 0
		}
	}
	left := f.untaken
	f.untaken = nil
	t.mu.Unlock()
	_ = f.pipe.Close()
	for item := range left {
		t.drop(item)
	}
}

// end ends every feed: with io.EOF where there was a stream, with err where
// somebody still waits for one, now and later.
func (t *feedTable[T]) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = err
	for f := range t.feeds {
		f.stopRetry()
		f.pipe.End(nil)
		f.firstAnswer(err)
	}
	clear(t.feeds)
	clear(t.byID)
}
