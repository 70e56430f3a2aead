package plugins

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/internal/pb"
)

// feedOutput is an entry of the subscribe or the register stream on its way to the
// host: an event, an invocation, the cancellation of one, or what became of a feed.
type feedOutput struct {
	feed       uint64
	event      *core.Event
	invocation *core.Invocation
	id         uint64 // of the invocation
	canceled   bool
	ended      bool
	confirms   bool  // of a feed that was opened
	err        error // of a feed that was refused or has ended
}

// feeding is one stream of feeds, Subscribe or Register, on the plugin's side. Each
// feed has a goroutine that opens the backend's stream and forwards what it hands
// out, as far as the feed's credit goes.
type feeding[T any] struct {
	server  *server
	from    core.Backend
	backend string // its name
	outbox  *core.Pipe[feedOutput]
	open    func(context.Context, core.Pattern, *pb.Feed) (core.Stream[T], error)
	size    func(T) int
	forward func(feed uint64, item T, size int)
	refuse  func(item T, err error) // gets what a closed feed leaves behind, and what is too large
	maxItem int
	// put waits while too much is queued already, and gives up when the stream ends.
	put func(o feedOutput, size int)

	mu     sync.Mutex
	feeds  map[uint64]*sourceFeed
	latest map[core.Pattern]*sourceFeed
	wg     sync.WaitGroup
}

// sourceFeed is one feed on the plugin's side.
type sourceFeed struct {
	id      uint64
	pattern core.Pattern
	cancel  context.CancelFunc
	done    chan struct{} // closed when the backend's stream is closed
	closing bool          // guarded by feeding.mu

	mu     sync.Mutex
	credit int64
	more   chan struct{} // has an element when credit has grown

	confirmer core.Confirmer // nil: the backend does not want to know
	forwarded uint64
	confirmed uint64
	skipped   []uint64 // how many were forwarded before each item that was not
}

func newFeeding[T any](ctx context.Context, s *server) (*feeding[T], error) {
	backend, name, maxItem, err := s.opened()
	if err != nil {
		return nil, err
	}
	outbox := core.NewPipe[feedOutput](0, outboxBytes, nil)
	return &feeding[T]{
		server:  s,
		from:    backend,
		backend: name,
		maxItem: maxItem,
		outbox:  outbox,
		put:     func(o feedOutput, size int) { _ = outbox.Put(ctx, o, size) },
		feeds:   map[uint64]*sourceFeed{},
		latest:  map[core.Pattern]*sourceFeed{},
	}, nil
}

func (f *feeding[T]) handle(ctx context.Context, open []*pb.Feed, credit []*pb.Credit, closed []uint64) {
	for _, m := range open {
		f.start(ctx, m)
	}
	for _, m := range credit {
		f.grant(m.GetId(), m.GetBytes())
	}
	for _, id := range closed {
		f.stop(id)
	}
}

func (f *feeding[T]) start(ctx context.Context, m *pb.Feed) {
	ctx, cancel := context.WithCancel(ctx)
	feed := &sourceFeed{
		id:      m.GetId(),
		pattern: core.Pattern{Address: core.Address{Backend: f.backend, Name: m.GetName()}, Match: core.Match(m.GetMatch())},
		cancel:  cancel,
		done:    make(chan struct{}),
		credit:  int64(m.GetCredit()),
		more:    make(chan struct{}, 1),
	}
	f.mu.Lock()
	previous := f.latest[feed.pattern]
	if previous != nil && !previous.closing {
		previous = nil
	}
	f.feeds[feed.id] = feed
	f.latest[feed.pattern] = feed
	f.mu.Unlock()
	f.wg.Go(func() {
		defer cancel()
		defer close(feed.done)
		if previous != nil {
			<-previous.done
		}
		f.run(ctx, feed, m)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.feeds, feed.id)
		if f.latest[feed.pattern] == feed {
			delete(f.latest, feed.pattern)
		}
	})
}

func (f *feeding[T]) run(ctx context.Context, feed *sourceFeed, m *pb.Feed) {
	var stream core.Stream[T]
	err := f.server.guard("open feed", func() (err error) {
		stream, err = f.open(ctx, feed.pattern, m)
		return err
	})
	if err != nil {
		f.put(feedOutput{feed: feed.id, err: err}, 0)
		return
	}
	feed.mu.Lock()
	feed.confirmer, _ = stream.(core.Confirmer)
	confirms := feed.confirmer != nil
	feed.mu.Unlock()
	f.put(feedOutput{feed: feed.id, confirms: confirms}, 0)
	defer f.close(feed, stream)
	for {
		var items []T
		err := f.server.guard("next", func() (err error) {
			items, err = stream.Next(ctx)
			return err
		})
		if err != nil {
			if ctx.Err() == nil {
				f.put(feedOutput{feed: feed.id, ended: true, err: unlessEOF(err)}, 0)
			}
			return
		}
		for i, item := range items {
			size := f.size(item)
			if size > f.maxItem {
				f.refuse(item, tooLarge("message", size, f.maxItem))
				feed.skip()
				continue
			}
			if feed.spend(ctx, size) != nil {
				for _, left := range items[i:] {
					f.refuse(left, core.Errorf(core.Unavailable, "the registration is being closed"))
				}
				return
			}
			feed.passed()
			f.forward(feed.id, item, size)
		}
	}
}

// passed notes that an item is being forwarded, skip that one is not.
func (feed *sourceFeed) passed() {
	feed.mu.Lock()
	defer feed.mu.Unlock()
	feed.forwarded++
}

func (feed *sourceFeed) skip() {
	feed.mu.Lock()
	defer feed.mu.Unlock()
	if feed.confirmer != nil {
		feed.skipped = append(feed.skipped, feed.forwarded)
	}
}

// confirm tells the backend's stream that the host has taken charge of n more items,
// with those between them that were not forwarded.
func (feed *sourceFeed) confirm(n uint64) {
	feed.mu.Lock()
	feed.confirmed = min(feed.confirmed+n, feed.forwarded)
	skipped := 0
	for skipped < len(feed.skipped) && feed.skipped[skipped] <= feed.confirmed {
		skipped++
	}
	feed.skipped = feed.skipped[skipped:]
	confirmer := feed.confirmer
	feed.mu.Unlock()
	if confirmer != nil {
		confirmer.Confirm(int(n) + skipped)
	}
}

func (f *feeding[T]) close(feed *sourceFeed, stream core.Stream[T]) {
	if err := f.server.guard("close feed", stream.Close); err != nil {
		f.server.log.Warn("closing feed", slog.String("pattern", feed.pattern.String()), slog.Any("error", err))
	}
}

// spend waits until the feed has credit, and takes size off it.
func (feed *sourceFeed) spend(ctx context.Context, size int) error {
	for {
		feed.mu.Lock()
		if feed.credit > 0 {
			feed.credit -= int64(size)
			feed.mu.Unlock()
			return ctx.Err()
		}
		feed.mu.Unlock()
		select {
		case <-feed.more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *feeding[T]) grant(id, bytes uint64) {
	f.mu.Lock()
	feed := f.feeds[id]
	f.mu.Unlock()
	if feed == nil {
		return
	}
	feed.mu.Lock()
	feed.credit += int64(bytes)
	feed.mu.Unlock()
	select {
	case feed.more <- struct{}{}:
	default:
	}
}

func (f *feeding[T]) confirm(id, n uint64) {
	f.mu.Lock()
	feed := f.feeds[id]
	f.mu.Unlock()
	if feed != nil {
		feed.confirm(n)
	}
}

func (f *feeding[T]) stop(id uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if feed := f.feeds[id]; feed != nil {
		feed.closing = true
		feed.cancel()
	}
}

// serve reads requests until the host has no more, then closes every feed.
func (f *feeding[T]) serve(ctx context.Context, receive func() error, b batch[feedOutput]) error {
	sent := make(chan error, 1)
	go func() { sent <- pump(ctx, f.outbox, b) }()
	var err error
	for err == nil {
		err = receive()
	}
	if !errors.Is(err, io.EOF) {
		_ = f.outbox.Close()
	}
	f.mu.Lock()
	for _, feed := range f.feeds {
		feed.cancel()
	}
	f.mu.Unlock()
	f.wg.Wait()
	f.outbox.End(nil)
	return errors.Join(unlessEOF(err), <-sent)
}

// Subscribe implements pb.BackendServer.
func (s *server) Subscribe(stream pb.Backend_SubscribeServer) error {
	f, err := newFeeding[*core.Event](stream.Context(), s)
	if err != nil {
		return err
	}
	f.size = eventSize
	f.open = func(ctx context.Context, p core.Pattern, _ *pb.Feed) (core.Stream[*core.Event], error) {
		return f.from.Subscribe(ctx, p)
	}
	f.forward = func(feed uint64, e *core.Event, size int) {
		f.put(feedOutput{feed: feed, event: e}, size)
	}
	f.refuse = func(e *core.Event, err error) {
		if core.CodeOf(err) == core.TooLarge {
			s.log.Error("event lost", slog.String("topic", e.Topic.Name), slog.Any("error", err))
		}
	}
	receive := func() error {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		f.handle(stream.Context(), m.GetOpen(), m.GetCredit(), m.GetClose())
		for _, c := range m.GetConfirm() {
			f.confirm(c.GetId(), c.GetCount())
		}
		return nil
	}
	return f.serve(stream.Context(), receive, &eventBatch{stream: stream})
}
