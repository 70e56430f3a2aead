package wamp

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/router"
	"github.com/anybridge/anybridge/backends/wamp/session"
	"github.com/anybridge/anybridge/core"
)

// Backend implements core.Backend on WAMP.
type Backend struct {
	log *slog.Logger

	change sync.Mutex // serialises Open and Close
	open   atomic.Pointer[running]
}

var _ core.Backend = (*Backend)(nil)

// New makes a backend that is not open yet.
func New(log *slog.Logger) *Backend { return &Backend{log: log} }

// running is an open backend.
type running struct {
	log    *slog.Logger
	router *router.Router   // nil with url
	main   *session.Session // publishes and subscribes: so nothing comes back

	// caller is a session of its own on the router inside, which holds publishers back
	// while subscribers cannot keep up: calls need not wait for that. On other routers
	// it is main.
	caller *session.Session

	mu      sync.Mutex
	config  *Config
	target  session.Target
	callees []*session.Session // register; nil where none was needed yet
	closed  bool
}

// openPatience is how long Open waits for the first attempt to join.
const openPatience = 5 * time.Second

// Open implements core.Backend.
func (b *Backend) Open(ctx context.Context, config json.RawMessage) (core.Info, error) {
	cfg, err := parseConfig(config)
	if err != nil {
		return core.Info{}, err
	}
	b.change.Lock()
	defer b.change.Unlock()
	r := b.open.Load()
	if r != nil {
		if err := r.reconfigure(cfg); err != nil {
			return core.Info{}, err
		}
		return r.info(), nil
	}
	if r, err = start(cfg, b.log); err != nil {
		return core.Info{}, err
	}
	b.open.Store(r)
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	_ = r.caller.Ready(ctx)
	_ = r.main.Ready(ctx) // a router that is away is not an error: see Status
	return r.info(), nil
}

// start runs the router, if it is ours, and the first session.
func start(cfg *Config, log *slog.Logger) (*running, error) {
	r := &running{log: log, config: cfg, target: cfg.target, callees: make([]*session.Session, cfg.CalleeSessions)}
	if cfg.Router != nil {
		own, err := router.New(*cfg.Router, log)
		if err != nil {
			return nil, core.Errorf(core.InvalidArgument, "router: %w", err)
		}
		if err := own.Start(); err != nil {
			_ = own.Close(context.Background())
			return nil, core.Errorf(core.InvalidArgument, "router: %w", err)
		}
		r.router = own
		r.target = inside(own, cfg.Realm)
	}
	r.main = session.New(r.options("main"))
	r.caller = r.main
	if r.router != nil {
		r.caller = session.New(r.options("caller"))
	}
	return r, nil
}

func (r *running) options(name string) session.Options {
	return session.Options{
		Target: r.target, Log: r.log.With(slog.String("wamp_session", name)),
		MaxEvents: r.config.MaxQueuedEvents, MaxEventBytes: r.config.MaxQueuedBytes,
	}
}

// reconfigure applies a changed configuration in place, or changes nothing.
func (r *running) reconfigure(cfg *Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.config
	switch {
	case (cfg.Router == nil) != (old.Router == nil):
		return core.Errorf(core.Unimplemented, "changing between router and url needs a fresh start")
	case !cfg.sameSizes(old):
		return core.Errorf(core.Unimplemented, "changed sizes need a fresh start")
	}
	if cfg.Router != nil {
		if err := r.router.Reconfigure(*cfg.Router); err != nil {
			if e, ok := errors.AsType[*core.Error](err); ok {
				return e
			}
			return core.Errorf(core.InvalidArgument, "router: %w", err)
		}
		cfg.target = inside(r.router, cfg.Realm)
	}
	r.config = cfg
	if cfg.sameTarget(old) {
		return nil
	}
	r.target = cfg.target
	var moving sync.WaitGroup
	for _, s := range r.sessionsLocked() {
		moving.Go(func() { s.Retarget(r.target) })
	}
	moving.Wait()
	return nil
}

func (r *running) info() core.Info {
	info := core.Info{
		Kind: "wamp",
		Can: core.Capabilities{
			Publish:   true,
			Subscribe: []core.Match{core.Exact, core.Prefix, core.Wildcard},
			Call:      true,
			Register:  []core.Match{core.Exact, core.Prefix, core.Wildcard},
			Invoke:    []string{wamp.InvokeFirst, wamp.InvokeLast, wamp.InvokeRoundRobin, wamp.InvokeRandom},
			Retain:    r.router != nil || r.main.BrokerFeature("event_retention"),
		},
	}
	if r.router != nil {
		info.Listen = r.router.URLs()
	}
	return info
}

// sessionsLocked lists the sessions, the main one first and those that register
// last. r.mu is held.
func (r *running) sessionsLocked() []*session.Session {
	all := []*session.Session{r.main}
	if r.caller != r.main {
		all = append(all, r.caller)
	}
	for _, s := range r.callees {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

// callee returns the session on which a pattern is registered. It is joined when
// it is needed first.
func (r *running) callee(ctx context.Context, p core.Pattern) (*session.Session, error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(string(p.Match) + " " + p.Name))
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, core.Errorf(core.Unavailable, "the backend is closed")
	}
	i := int(h.Sum32() % uint32(len(r.callees)))
	s := r.callees[i]
	if s == nil {
		s = session.New(r.options("callee"))
		r.callees[i] = s
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	_ = s.Ready(ctx) // Register says what is wrong
	return s, nil
}

func (b *Backend) running() (*running, error) {
	if r := b.open.Load(); r != nil {
		return r, nil
	}
	return nil, core.Errorf(core.Unavailable, "the backend is not open")
}

// Publish implements core.Backend.
func (b *Backend) Publish(ctx context.Context, e *core.Event) error {
	r, err := b.running()
	if err != nil {
		return err
	}
	return r.main.Publish(ctx, e)
}

// Subscribe implements core.Backend.
func (b *Backend) Subscribe(ctx context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	r, err := b.running()
	if err != nil {
		return nil, err
	}
	return r.main.Subscribe(ctx, p)
}

// Call implements core.Backend.
func (b *Backend) Call(ctx context.Context, c *core.Call) (*core.Result, error) {
	r, err := b.running()
	if err != nil {
		return nil, err
	}
	return r.caller.Call(ctx, c)
}

// Register implements core.Backend.
func (b *Backend) Register(ctx context.Context, p core.Pattern, o core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	r, err := b.running()
	if err != nil {
		return nil, err
	}
	s, err := r.callee(ctx, p)
	if err != nil {
		return nil, err
	}
	return s.Register(ctx, p, o)
}

// Status implements core.Backend. Counters of the sessions and of the router are
// added up by name.
func (b *Backend) Status(context.Context) (core.Status, error) {
	r := b.open.Load()
	if r == nil {
		return core.Status{State: core.Down, Reason: "not open"}, nil
	}
	r.mu.Lock()
	sessions := r.sessionsLocked()
	r.mu.Unlock()
	st := core.Status{State: core.Up, Counters: map[string]int64{}}
	for _, s := range sessions {
		one := s.Status()
		for name, n := range one.Counters {
			st.Counters[name] += n
		}
		if worse(one.State, st.State) {
			st.State, st.Reason = one.State, one.Reason
		} else if st.Reason == "" {
			st.Reason = one.Reason
		}
	}
	if r.router != nil {
		for name, n := range r.router.Counters() {
			st.Counters[name] += n
		}
	}
	return st, nil
}

func worse(a, b core.State) bool {
	rank := func(s core.State) int {
		switch s {
		case core.Up:
			return 0
		case core.Connecting:
			return 1
		}
		return 2
	}
	return rank(a) > rank(b)
}

// Close implements core.Backend: first the registrations are withdrawn and open
// invocations get their time, during which calls still work; then the rest.
func (b *Backend) Close(ctx context.Context) error {
	b.change.Lock()
	defer b.change.Unlock()
	r := b.open.Swap(nil)
	if r == nil {
		return nil
	}
	r.mu.Lock()
	r.closed = true
	callees := r.callees
	r.mu.Unlock()
	var closing sync.WaitGroup
	for _, s := range callees {
		if s != nil {
			closing.Go(func() { _ = s.Close(ctx) })
		}
	}
	closing.Wait()
	err := r.caller.Close(ctx)
	if r.main != r.caller {
		err = errors.Join(err, r.main.Close(ctx))
	}
	if r.router != nil {
		err = errors.Join(err, r.router.Close(ctx))
	}
	return err
}
