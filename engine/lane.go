package engine

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/record"
	"github.com/anybridge/anybridge/engine/internal/store"
)

// lane delivers what is owed to a share of the endpoints. One goroutine (run) owns
// all of its state and never waits for the network or the disk: attempts, reads and
// writes happen elsewhere and report back through posts.
type lane struct {
	e        *Engine
	n        int
	log      *slog.Logger
	snapshot atomic.Pointer[laneSnapshot]

	mu     sync.Mutex // guards active, which starts and stops with the lane
	active *shift
}

// shift is the time in which this bridge works a lane.
type shift struct {
	*lane
	ctx    context.Context //nolint:containedctx // ends with the shift
	cancel context.CancelFunc
	wg     sync.WaitGroup  // everything but run
	ended  chan struct{}   // closed when nothing of it runs any more
	sends  context.Context //nolint:containedctx // ends attempts under way
	abort  context.CancelFunc

	posts    *mailbox
	resumed  chan struct{} // closed when it is known where the lane stands
	arrivals chan *arrival
	jobs     chan func() // to a worker that is free

	// What follows belongs to run.
	win       window
	endpoints map[string]*endpoint
	byKey     map[record.Key]*endpoint
	laters    map[string]*laterEntry // by subject
	timers    timers
	running   int
	sending   map[*delivery]struct{} // attempts under way
	starving  []*endpoint
	dirty     map[*endpoint]struct{}
	seen      *repetitions // nil: this store has one bridge
	resuming  bool         // nothing starts before the order of everything is known
	meeting   bool         // unknown subscriptions of a message are looked up
	stopping  bool
	calm      chan struct{} // to be closed when nothing is under way any more
	puts      int           // deliveries being written
	saving    bool          // the cursor is being written
	nextSave  time.Time     // not before
	purged    uint64
	lastPurge time.Time
	relieved  time.Time
	abandoned time.Time // when calls were looked at last
	snapped   time.Time // when snap was called last
}

// arrival is one message of the lane, read.
type arrival struct {
	seq     uint64
	size    int
	created time.Time
	entries []record.Entry
	met     bool // the store was asked for subscriptions that are not known here
}

func newLane(e *Engine, n int) *lane {
	return &lane{e: e, n: n, log: e.log.With(slog.Int("lane", n))}
}

// work begins a shift, unless there is one.
func (l *lane) work() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.active != nil {
		return
	}
	s := &shift{
		lane: l, ended: make(chan struct{}), resumed: make(chan struct{}), resuming: true,
		posts: newMailbox(), arrivals: make(chan *arrival, 16), jobs: make(chan func()),
		endpoints: map[string]*endpoint{}, byKey: map[record.Key]*endpoint{}, laters: map[string]*laterEntry{},
		sending: map[*delivery]struct{}{}, dirty: map[*endpoint]struct{}{},
	}
	if l.e.store.Shared() {
		s.seen = newRepetitions()
	}
	s.ctx, s.cancel = context.WithCancel(l.e.ctx)
	s.sends, s.abort = context.WithCancel(context.Background())
	l.active = s
	go s.run()
}

// stop ends the shift: attempts under way are finished as long as ctx allows.
func (l *lane) stop(ctx context.Context) error {
	l.mu.Lock()
	s := l.active
	l.mu.Unlock()
	if s == nil {
		return nil
	}
	var err error
	select {
	case <-s.resumed:
		err = s.calmDown(ctx)
		saved := make(chan struct{})
		s.post(func() {
			s.saveLast()
			close(saved)
		})
		select {
		case <-saved:
		case <-s.ended:
		}
	default: // it has not begun: nothing is under way, nothing has changed
	}
	s.abort()
	s.cancel()
	<-s.ended
	l.mu.Lock()
	l.active = nil
	l.mu.Unlock()
	l.snapshot.Store(nil)
	return err
}

// abortTime is how long attempts that were ended, and writes, may take to say so.
const abortTime = 2 * time.Second

// calmDown starts nothing more and waits for what is under way: for attempts until
// ctx ends, which ends them too, and then a moment for the writes.
func (s *shift) calmDown(ctx context.Context) (err error) {
	calm := make(chan struct{})
	s.post(func() {
		s.stopping, s.calm = true, calm
		s.tellCalm()
	})
	select {
	case <-calm:
		return nil
	case <-s.ended:
		return nil
	case <-ctx.Done():
	}
	s.abort()
	select {
	case <-calm:
	case <-s.ended:
	case <-time.After(abortTime):
	}
	return ctx.Err()
}

// tellCalm tells calmDown when neither attempts nor writes are under way any more.
func (s *shift) tellCalm() {
	if s.calm != nil && s.running == 0 && s.puts == 0 {
		close(s.calm)
		s.calm = nil
	}
}

// tell has f called on the shift's goroutine; false if there is no shift.
func (l *lane) tell(f func(s *shift)) bool {
	l.mu.Lock()
	s := l.active
	l.mu.Unlock()
	return s != nil && s.posts.put(func() { f(s) })
}

// post has run call f, and never blocks. After the shift it is not called.
func (s *shift) post(f func()) { s.posts.put(f) }

// spawn runs f beside the lane.
func (s *shift) spawn(f func()) { s.wg.Go(f) }

// The bounds of what a lane keeps in memory.
const (
	maxUnsettled      = 16384    // deliveries that were read from the lane
	maxUnsettledBytes = 64 << 20 // of their messages
)

// tickTime is how often the lane's state is written down, when it has changed.
const tickTime = 100 * time.Millisecond

// run is the shift.
func (s *shift) run() {
	defer func() {
		s.cancel()
		s.posts.close()
		s.wg.Wait()
		close(s.ended)
	}()
	if err := s.resume(); err != nil {
		return // the shift was stopped
	}
	close(s.resumed)
	s.spawn(s.read)
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for {
		var arrivals <-chan *arrival
		if !s.stopping && !s.meeting && s.hasRoom() {
			arrivals = s.arrivals
		}
		select {
		case a := <-arrivals:
			s.accept(a)
		case <-s.posts.filled:
			s.doPosted()
		case <-alarm.C:
		case now := <-tick.C:
			s.tick(now)
		case <-s.ctx.Done():
			return
		}
		alarm.Reset(s.timers.run(time.Now()))
	}
}

func (s *shift) doPosted() {
	for _, f := range s.posts.take() {
		f()
	}
}

func (s *shift) hasRoom() bool {
	return s.win.unsettled < maxUnsettled && s.win.bytes < maxUnsettledBytes
}

// read brings the messages of the lane.
func (s *shift) read() {
	name := store.Lane(s.n)
	_ = s.e.store.Read(s.ctx, store.Reading{
		Stream: name, Subject: s.e.store.Subject(name, ">"), From: s.win.floor + 1,
		Each: func(m *store.Msg) {
			entries, err := record.Pack(m.Data)
			if err != nil { // what is whole of it is delivered
				s.log.Error("lane: malformed message", slog.Uint64("sequence", m.Seq), slog.Any("error", err))
			}
			select {
			case s.arrivals <- &arrival{seq: m.Seq, size: len(m.Data), created: m.Time, entries: entries}:
			case <-s.ctx.Done():
			}
		},
	})
}

// accept takes in one message: each delivery in it goes to its endpoint.
func (s *shift) accept(a *arrival) {
	if ids := s.strangers(a); len(ids) > 0 {
		s.meetAll(a, ids)
		return
	}
	total := 0
	for i := range a.entries {
		total += len(a.entries[i].To)
	}
	p := s.win.add(a.seq, a.size, total, time.Now())
	p.created = a.created
	index := -1
	for i := range a.entries {
		e := &a.entries[i]
		repeated := s.seen != nil && s.seen.again(e)
		for _, key := range e.To {
			index++
			if p.settled(index) {
				continue
			}
			if repeated {
				s.e.counters.repeated.Add(1)
				s.win.settle(p, index)
				continue
			}
			ep := s.subscriber(key)
			if ep == nil || ep.disabled != "" {
				s.e.counters.dropped.Add(1)
				s.win.settle(p, index)
				continue
			}
			s.enqueue(&delivery{to: ep, event: e.Event, created: a.created, log: &s.win, pack: p, index: index})
		}
	}
}

// subscriber is the endpoint of a subscription, or nil if it exists no more.
func (s *shift) subscriber(key record.Key) *endpoint {
	if ep := s.byKey[key]; ep != nil {
		return ep
	}
	sub := s.e.registry.Subscription(key.ID())
	if sub == nil {
		return nil
	}
	ep := s.endpoint(key.ID())
	s.byKey[key] = ep
	return ep
}

// endpoint returns the endpoint of an ID, which it makes if need be.
func (s *shift) endpoint(id string) *endpoint {
	ep := s.endpoints[id]
	if ep == nil {
		ep = &endpoint{id: id}
		s.endpoints[id] = ep
		if sub := s.e.registry.Subscription(id); sub != nil {
			ep.configure(sub)
		}
	}
	return ep
}

// bindingChanged applies a change of a subscription, or forgets one that is gone.
func (s *shift) bindingChanged(id string, now *core.Subscription) {
	ep := s.endpoints[id]
	switch {
	case now == nil:
		s.forget(id)
	case ep != nil:
		ep.configure(now)
		if !now.Endpoint.Ordered {
			ep.head = nil // nobody waits for it any more
		} else if ep.head == nil {
			s.nextHead(ep)
		}
		if ep.disabled != "" {
			ep.breaker = breaker{}
			if ep.backlog != nil {
				ep.backlog.pardoned = ep.backlog.size()
			}
			s.touch(ep)
		}
		ep.probe = time.Time{} // who subscribes again is there: try at once
		s.start(ep)
	}
}

// bindingChanged passes the change to the shift.
func (l *lane) bindingChanged(id string, now *core.Subscription) {
	l.mu.Lock()
	s := l.active
	l.mu.Unlock()
	switch {
	case s == nil:
	case now == nil:
		s.post(func() { s.removed(id) })
	default:
		s.post(func() { s.bindingChanged(id, now) })
	}
}

// forget drops what is owed to a subscription that exists no more.
func (s *shift) forget(id string) {
	st := s.e.store
	lane := laneToken(s.n)
	st.Purge(store.Backlog, st.Subject(store.Backlog, lane, id), 0, nil)
	st.Purge(store.Later, st.Subject(store.Later, lane, id, "*"), 0, nil)
	st.Purge(store.Cursors, st.Subject(store.Cursors, lane, id), 0, nil)
	ep := s.endpoints[id]
	if ep == nil {
		return
	}
	ep.gone = true
	delete(s.endpoints, id)
	if key, ok := record.KeyOf(id); ok {
		delete(s.byKey, key)
	}
	delete(s.dirty, ep)
	if ep.wake != nil {
		ep.wake.cancel()
	}
	for _, q := range []*fifo{&ep.waiting, &ep.due} {
		for q.len() > 0 {
			d := q.shift()
			s.e.counters.dropped.Add(1)
			if d.log == &s.win {
				s.win.settle(d.pack, d.index)
			}
		}
	}
	if ep.backlog != nil {
		ep.backlog.drop(&s.win)
	}
	for subject, entry := range s.laters {
		if entry.to == ep {
			entry.cancel()
			delete(s.laters, subject)
		}
	}
}
