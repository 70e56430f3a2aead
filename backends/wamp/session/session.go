package session

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/core"
)

// Options are what a Session needs. Zero fields mean the defaults.
type Options struct {
	Target
	Log *slog.Logger // required

	// MaxEvents and MaxEventBytes bound each subscription's queue: 1,000,000 events
	// and 256 MiB. A consumer may hold as much again that it has taken out and not
	// handed on.
	MaxEvents, MaxEventBytes int
	// MaxInvocations bounds the invocations that are not answered yet, of the whole
	// session: 65,536; and MaxInvocationBytes each registration's queue: 64 MiB.
	MaxInvocations, MaxInvocationBytes int
	// FirstDelay and LastDelay are the pauses between attempts to connect and to
	// restore: they double from 200 ms to 30 s.
	FirstDelay, LastDelay time.Duration
}

const (
	joinTimeout    = 15 * time.Second // one attempt to connect and join
	requestTimeout = 10 * time.Second // of requests that nobody set a deadline for
	steadyTime     = 5 * time.Second  // a connection that lasts so long resets the pauses
)

func (o Options) withDefaults() Options {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	wait := func(p *time.Duration, v time.Duration) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&o.MaxEvents, 1_000_000)
	set(&o.MaxEventBytes, 256<<20)
	set(&o.MaxInvocations, 1<<16)
	set(&o.MaxInvocationBytes, 64<<20)
	wait(&o.FirstDelay, 200*time.Millisecond)
	wait(&o.LastDelay, 30*time.Second)
	return o
}

// Session is a WAMP session that comes back. All methods may be called
// concurrently; their errors are *core.Error.
type Session struct {
	o      Options
	log    *slog.Logger
	errors *errorTable
	count  counters

	ctx  context.Context //nolint:containedctx // the lifetime of the goroutines that Close waits for
	stop context.CancelFunc
	wg   sync.WaitGroup

	restoring     context.Context //nolint:containedctx // ends with ctx, or earlier: Close restores nothing
	stopRestoring context.CancelFunc

	lostAt  atomic.Pointer[time.Time] // when the last connection ended
	current atomic.Pointer[conn]      // nil while disconnected; set with mu held
	closed  atomic.Bool               // no more requests; set with mu held
	tried   chan struct{}             // closed after the first attempt
	poke    chan struct{}             // cuts the pause before the next attempt short

	mu       sync.Mutex // guards what follows; never held across I/O
	target   Target
	moves    int                     // how often target was changed
	bindings map[bindingKey]binding  // what to restore after a reconnect
	reserved map[bindingKey]struct{} // what is being bound
	missing  map[bindingKey]error    // what could not be restored yet, and why
	failure  error                   // of the last attempt; nil while connected
	next     time.Time               // of the next attempt
}

// New makes a session and starts connecting it.
func New(o Options) *Session {
	ctx, stop := context.WithCancel(context.Background())
	s := &Session{
		o: o.withDefaults(), log: o.Log, errors: newErrorTable(),
		ctx: ctx, stop: stop,
		tried:    make(chan struct{}),
		poke:     make(chan struct{}, 1),
		target:   o.Target,
		bindings: map[bindingKey]binding{},
		reserved: map[bindingKey]struct{}{},
		missing:  map[bindingKey]error{},
	}
	s.restoring, s.stopRestoring = context.WithCancel(ctx)
	s.wg.Go(s.supervise)
	return s
}

// Ready waits until the first attempt to join has succeeded or failed, and returns
// why it failed. The session keeps trying in any case.
func (s *Session) Ready(ctx context.Context) error {
	select {
	case <-s.tried:
	case <-ctx.Done():
		return core.AsError(ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Retarget moves the session to another router, realm or identity: it leaves where
// it is and restores everything there. What is in flight fails with Unavailable.
func (s *Session) Retarget(t Target) {
	s.mu.Lock()
	s.target = t
	s.moves++
	s.mu.Unlock()
	if c := s.current.Load(); c != nil {
		ctx, cancel := context.WithTimeout(s.ctx, flushTimeout)
		defer cancel()
		c.leave(ctx)
		c.fail(core.Errorf(core.Unavailable, "the configuration has changed"))
	}
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// BrokerFeature reports whether the router announced a feature of its broker role.
// It is false while disconnected.
func (s *Session) BrokerFeature(name string) bool {
	c := s.current.Load()
	if c == nil {
		return false
	}
	flag, err := wamp.DictValue(c.details, []string{"roles", "broker", "features", name})
	yes, _ := flag.(bool)
	return err == nil && yes
}

// conn returns the connection, or why there is none.
func (s *Session) conn() (*conn, error) {
	if s.closed.Load() {
		return nil, core.Errorf(core.Unavailable, "the session is closed")
	}
	if c := s.current.Load(); c != nil {
		return c, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return nil, s.unavailableLocked(s.failure)
	}
	return nil, s.unavailableLocked(core.Errorf(core.Unavailable, "not connected yet"))
}

// unavailable is the answer while the router is away.
func (s *Session) unavailable(why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unavailableLocked(why)
}

func (s *Session) unavailableLocked(why error) error {
	e := core.Errorf(core.Unavailable, "no session with the router: %w", why)
	e.RetryAfter = max(time.Until(s.next), s.o.FirstDelay)
	return e
}

// supervise keeps the session joined until Close.
func (s *Session) supervise() {
	delay := s.o.FirstDelay
	for {
		s.mu.Lock()
		target, moves := s.target, s.moves
		s.mu.Unlock()
		c, err := s.attempt(target)
		if err == nil {
			since := time.Now()
			s.live(c, moves)
			if time.Since(since) >= steadyTime {
				delay = s.o.FirstDelay
			}
			err = c.end()
		}
		if s.ctx.Err() != nil {
			return
		}
		pause := jitter(delay)
		s.failed(err, pause)
		select {
		case <-time.After(pause):
			delay = min(2*delay, s.o.LastDelay)
		case <-s.poke:
			delay = s.o.FirstDelay
		case <-s.ctx.Done():
			return
		}
	}
}

// jitter spreads a pause over half to one and a half of it.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d) //nolint:gosec // not a secret
}

// attempt connects and joins once.
func (s *Session) attempt(t Target) (*conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, joinTimeout)
	defer cancel()
	link, welcome, err := join(ctx, t)
	if err != nil {
		return nil, err
	}
	return newConn(s, link, welcome), nil
}

// live serves one connection until it ends. moves is what it was when the
// connection's target was looked up.
func (s *Session) live(c *conn, moves int) {
	s.mu.Lock()
	if moves != s.moves {
		s.mu.Unlock()
		c.close(core.Errorf(core.Unavailable, "the configuration has changed"))
		return
	}
	s.failure, s.next = nil, time.Time{}
	again := s.count.joins.Add(1) > 1
	s.current.Store(c)
	todo := s.boundLocked() // what is bound from now on is bound on c
	clear(s.missing)
	s.mu.Unlock()
	s.first()
	s.log.Info("joined realm", slog.Uint64("session", uint64(c.id)), slog.Bool("again", again))
	ctx, cancel := context.WithCancel(s.restoring)
	var restoring sync.WaitGroup
	restoring.Go(func() { s.restore(ctx, c, todo) })
	select {
	case <-c.done:
	case <-s.ctx.Done():
	}
	lost := time.Now()
	s.lostAt.Store(&lost)
	s.mu.Lock()
	s.current.Store(nil)
	s.mu.Unlock()
	cancel()
	c.close(core.Errorf(core.Unavailable, "the session is closed"))
	restoring.Wait()
}

// first tells Ready that the first attempt is over.
func (s *Session) first() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.tried:
	default:
		close(s.tried)
	}
}

func (s *Session) failed(err error, pause time.Duration) {
	s.mu.Lock()
	news := s.failure == nil || s.failure.Error() != err.Error()
	s.failure = err
	s.next = time.Now().Add(pause)
	s.mu.Unlock()
	s.first()
	if news {
		s.log.Warn("no session with the router", slog.Any("error", err), slog.Duration("retry_in", pause.Round(time.Millisecond)))
	}
}

// spawn runs f in a goroutine that Close waits for, unless the session is closed.
func (s *Session) spawn(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed.Load() {
		s.wg.Go(f)
	}
}

// Status tells how the session is, from memory.
func (s *Session) Status() core.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := core.Status{State: core.Up, Counters: s.count.snapshot()}
	st.Counters["bindings_missing_now"] = int64(len(s.missing))
	switch c := s.current.Load(); {
	case c != nil:
		st.Reason = s.missingReason()
		c.mu.Lock()
		st.Counters["requests_now"] = int64(len(c.pending))
		st.Counters["invocations_now"] = int64(len(c.open))
		c.mu.Unlock()
	case s.closed.Load():
		st.State, st.Reason = core.Down, "closed"
	case s.failure == nil:
		st.State, st.Reason = core.Connecting, "connecting"
	default:
		st.State, st.Reason = core.Connecting, s.failure.Error()
		switch core.CodeOf(s.failure) {
		case core.Unauthenticated, core.Forbidden, core.NotFound: // trying again will hardly help
			st.State = core.Down
		}
	}
	return st
}

// Close ends the session in order: new requests are refused, registrations are
// withdrawn, invocations get until shortly before ctx ends to be answered (10 s if
// ctx has no deadline), those that are not by then are answered with Unavailable,
// calls in flight are canceled and fail with Unavailable, then GOODBYE. Streams end
// with io.EOF after what is queued.
func (s *Session) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed.Swap(true) {
		s.mu.Unlock()
		s.wg.Wait()
		return nil
	}
	all := s.boundLocked()
	s.mu.Unlock()
	s.stopRestoring()
	if c := s.current.Load(); c != nil {
		s.drain(ctx, c, all)
	}
	s.stop()
	s.wg.Wait()
	for _, b := range all {
		b.end()
	}
	return nil
}

// drain does what Close promises to those who are in flight.
func (s *Session) drain(ctx context.Context, c *conn, all []binding) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	patience, stop := context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/5))
	defer stop()
	var withdrawn sync.WaitGroup
	for _, b := range all {
		if r, ok := b.(*registration); ok {
			withdrawn.Go(func() { r.withdraw(patience, c) })
		}
	}
	withdrawn.Wait()
	c.drainInvocations(patience)
	c.refuse(func(*invocation) bool { return true })
	c.cancelCalls()
	c.leave(ctx)
}
