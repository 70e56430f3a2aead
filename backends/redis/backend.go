package redis

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// Backend implements core.Backend on Redis.
type Backend struct {
	log *slog.Logger

	change sync.Mutex // serialises Open and Close
	open   atomic.Pointer[running]
}

var (
	_ core.Backend        = (*Backend)(nil)
	_ core.BatchPublisher = (*Backend)(nil)
)

// New makes a backend that is not open yet.
func New(log *slog.Logger) *Backend { return &Backend{log: log} }

// running is an open backend.
type running struct {
	cfg  atomic.Pointer[Config]
	sys  *system
	log  *slog.Logger
	id   string // of this process, as others see it; by it we know our own messages
	last atomic.Uint64

	count   counters
	out     *publisher
	in      *subscriber
	streams map[string]*streamReader // by topic
	caller  *caller
	callee  *callee

	ctx  context.Context //nolint:containedctx // the lifetime of the goroutines that close waits for
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// Open implements core.Backend. Formats are changed in place; anything else needs a
// fresh backend.
func (b *Backend) Open(ctx context.Context, config json.RawMessage) (core.Info, error) {
	cfg, err := parseConfig(config)
	if err != nil {
		return core.Info{}, err
	}
	b.change.Lock()
	defer b.change.Unlock()
	if r := b.open.Load(); r != nil {
		if !cfg.sameButFormats(r.cfg.Load()) {
			return core.Info{}, core.Errorf(core.Unimplemented, "only formats can be changed while the backend is open")
		}
		r.cfg.Store(cfg)
		return info(), nil
	}
	r := start(cfg, b.log)
	b.open.Store(r)
	ctx, cancel := context.WithTimeout(ctx, kit.OpenPatience)
	defer cancel()
	r.out.health.Ready(ctx)
	r.in.health.Ready(ctx) // a server that is away is not an error: see Status
	return info(), nil
}

func start(cfg *Config, log *slog.Logger) *running {
	sys := newSystem(cfg, log)
	r := &running{
		sys: sys, log: log, id: core.NewID("redis"),
		out: newPublisher(sys), in: newSubscriber(sys), streams: map[string]*streamReader{},
	}
	r.cfg.Store(cfg)
	r.ctx, r.stop = context.WithCancel(context.Background())
	for topic, s := range cfg.Streams {
		r.streams[topic] = newStreamReader(r, s)
	}
	r.caller, r.callee = newCaller(r), newCallee(r)
	r.in.receive = r.received
	r.wg.Go(func() { r.out.health.Keep(r.ctx, r.out.session) })
	r.wg.Go(func() { r.in.health.Keep(r.ctx, r.in.session) })
	return r
}

func info() core.Info {
	return core.Info{Kind: "redis", Can: core.Capabilities{
		Publish:   true,
		Subscribe: []core.Match{core.Exact, core.Prefix, core.Wildcard},
		Call:      true,
		Register:  []core.Match{core.Exact},
		Invoke:    []string{"random"},
	}}
}

func (b *Backend) running() (*running, error) {
	if r := b.open.Load(); r != nil {
		return r, nil
	}
	return nil, core.Errorf(core.Unavailable, "the backend is not open")
}

// Publish implements core.Backend: it returns when Redis has answered PUBLISH or XADD.
func (b *Backend) Publish(ctx context.Context, e *core.Event) error {
	r, err := b.running()
	if err != nil {
		return err
	}
	return r.publish(ctx, e)
}

// PublishBatch implements core.BatchPublisher.
func (b *Backend) PublishBatch(ctx context.Context, events []*core.Event) []error {
	r, err := b.running()
	if err == nil {
		return r.publishBatch(ctx, events)
	}
	errs := make([]error, len(events))
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// Subscribe implements core.Backend.
func (b *Backend) Subscribe(ctx context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	r, err := b.running()
	if err != nil {
		return nil, err
	}
	return r.subscribe(ctx, p)
}

// Call implements core.Backend.
func (b *Backend) Call(ctx context.Context, c *core.Call) (*core.Result, error) {
	r, err := b.running()
	if err != nil {
		return nil, err
	}
	return r.caller.call(ctx, c)
}

// Register implements core.Backend.
func (b *Backend) Register(ctx context.Context, p core.Pattern, o core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	r, err := b.running()
	if err != nil {
		return nil, err
	}
	if p.Match != "" && p.Match != core.Exact {
		return nil, core.Errorf(core.Unimplemented, "procedures on redis have one name: match policy %q is not possible", p.Match)
	}
	switch o.Invoke {
	case "", "single", "random":
	default:
		return nil, core.Errorf(core.Unimplemented, "invocation policy %q is not possible on redis", o.Invoke)
	}
	return r.callee.register(ctx, p, o)
}

// Status implements core.Backend.
func (b *Backend) Status(context.Context) (core.Status, error) {
	r := b.open.Load()
	if r == nil {
		return core.Status{State: core.Down, Reason: "not open"}, nil
	}
	st := core.Status{State: core.Up, Counters: r.count.all()}
	for what, link := range map[string]*kit.Link{"publish": r.out.health, "subscribe": r.in.health} {
		one := link.Status()
		if st.State == core.Up || one.State == core.Down {
			st.State, st.Reason = one.State, one.Reason
		}
		st.Counters["connections_"+what] = one.Counters["connections"]
	}
	st.Counters["publishes_in_flight_now"] = r.out.commands.Load()
	return st, nil
}

// Close implements core.Backend: procedures are withdrawn first, and open invocations
// get their time.
func (b *Backend) Close(ctx context.Context) error {
	b.change.Lock()
	defer b.change.Unlock()
	r := b.open.Swap(nil)
	if r == nil {
		return nil
	}
	r.callee.close(ctx)
	r.in.close()
	for _, s := range r.streams {
		s.close(ctx)
	}
	r.stop()
	r.caller.close()
	r.wg.Wait()
	return r.sys.close()
}

// nextID makes an id for an event that came in: those of others are hints only.
func (r *running) nextID() string {
	return r.id + "-" + strconv.FormatUint(r.last.Add(1), 36)
}
