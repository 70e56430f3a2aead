package routes_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/routes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// system is a message system in this process: what is published on one of its backends
// all others hear. It stands for many that cannot carry a mark beside the payload.
type system struct {
	mu    sync.Mutex
	peers []*peer
	seen  []*core.Event // what the bridge published
	ids   atomic.Int64
	down  bool
}

// peer is one backend on a system.
type peer struct {
	*system
	topics core.PatternTable[*core.Pipe[*core.Event]]
	calls  core.PatternTable[*core.Pipe[*core.Invocation]]

	asked atomic.Int64 // times it was asked to publish
}

func (s *system) connect() *peer {
	p := &peer{system: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peers = append(s.peers, p)
	return p
}

func info(kind string) core.Info {
	all := []core.Match{core.Exact, core.Prefix, core.Wildcard}
	return core.Info{Kind: kind, Can: core.Capabilities{Publish: true, Call: true, Subscribe: all, Register: all}}
}

// say is what somebody else publishes.
func (s *system) say(name, args string) { s.spread(nil, name, json.RawMessage(args), nil) }

func (s *system) spread(from *peer, name string, args, kwargs json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		if p == from {
			continue
		}
		p.topics.Each(core.Address{Name: name}, func(pipe *core.Pipe[*core.Event]) bool {
			e := &core.Event{ID: strconv.FormatInt(s.ids.Add(1), 10), Payload: core.Payload{Args: args, Kwargs: kwargs}}
			e.Topic = core.Address{Backend: pipeBackend(pipe), Name: name}
			pipe.TryPut(e, e.Size())
			return true
		})
	}
}

var (
	pipesMu sync.Mutex
	pipes   = map[*core.Pipe[*core.Event]]string{}
)

func pipeBackend(p *core.Pipe[*core.Event]) string {
	pipesMu.Lock()
	defer pipesMu.Unlock()
	return pipes[p]
}

func (p *peer) Open(context.Context, json.RawMessage) (core.Info, error) {
	return core.Info{}, errors.New("open already")
}

func (p *peer) Publish(_ context.Context, e *core.Event) error {
	p.asked.Add(1)
	p.mu.Lock()
	if p.down {
		p.mu.Unlock()
		return core.Errorf(core.Unavailable, "the system is away")
	}
	e.ID = strconv.FormatInt(p.ids.Add(1), 10)
	given := *e
	p.seen = append(p.seen, &given)
	p.mu.Unlock()
	p.spread(p, e.Topic.Name, e.Args, e.Kwargs)
	return nil
}

// PublishBatch refuses what is too much at once, as a plugin does.
func (p *peer) PublishBatch(ctx context.Context, events []*core.Event) []error {
	errs := make([]error, len(events))
	for i, e := range events {
		if i >= 16384 {
			errs[i] = core.Errorf(core.TooMany, "too many at once")
			continue
		}
		errs[i] = p.Publish(ctx, e)
	}
	return errs
}

func (p *peer) Subscribe(_ context.Context, pattern core.Pattern) (core.Stream[*core.Event], error) {
	bare := pattern
	bare.Backend = ""
	pipe := core.NewPipe[*core.Event](0, 0, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.topics.Delete(bare)
	})
	pipesMu.Lock()
	pipes[pipe] = pattern.Backend
	pipesMu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.topics.Set(bare, pipe)
	return pipe, nil
}

func (p *peer) Register(_ context.Context, pattern core.Pattern, _ core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	pipe := core.NewPipe[*core.Invocation](0, 0, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.calls.Delete(pattern)
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls.Set(pattern, pipe)
	return pipe, nil
}

func (p *peer) Call(ctx context.Context, c *core.Call) (*core.Result, error) {
	p.mu.Lock()
	pipe, ok := p.calls.Best(c.Procedure)
	p.mu.Unlock()
	if !ok {
		return nil, core.Errorf(core.NoSuchProcedure, "no procedure %s", c.Procedure.Name)
	}
	type answer struct {
		result *core.Result
		err    error
	}
	answers := make(chan answer, 1)
	_ = pipe.Put(ctx, &core.Invocation{
		Procedure: c.Procedure, Payload: c.Payload, Details: c.Caller.Details(), Canceled: ctx.Done(),
		Reply: func(r *core.Result, err error) {
			select {
			case answers <- answer{r, err}:
			default:
			}
		},
	}, 1)
	select {
	case a := <-answers:
		return a.result, a.err
	case <-ctx.Done():
		return nil, core.AsError(ctx.Err())
	}
}

func (p *peer) Status(context.Context) (core.Status, error) { return core.Status{State: core.Up}, nil }

func (p *peer) Close(context.Context) error { return nil }

// published are the texts that the bridge has published under a name.
func (s *system) published(name string) (texts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.seen {
		if e.Topic.Name == name {
			texts = append(texts, e.Text())
		}
	}
	return texts
}

func (s *system) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// store stands for the engine: it delivers what is owed to durable routes, in order,
// until the route takes it.
type store struct {
	table *routes.Table
	mu    sync.Mutex
	owed  []core.Owed
	subs  map[string]*core.Subscription
	room  error
	tasks sync.WaitGroup
	stop  context.CancelFunc
	ctx   context.Context
	apps  []*core.Event // what endpoints would get
}

func (s *store) Room() error { return s.room }

func (s *store) Deliver(_ context.Context, owed []core.Owed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owed = append(s.owed, owed...)
	return nil
}

func (s *store) Save(_ context.Context, subs []*core.Subscription, _ []*core.Registration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range subs {
		if sub.Volatile {
			panic("a volatile subscription is kept")
		}
		s.subs[sub.ID()] = sub
	}
	return nil
}

func (s *store) Delete(_ context.Context, subs []*core.Subscription, _ []*core.Registration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range subs {
		delete(s.subs, sub.ID())
	}
	return nil
}

func (s *store) Subscription(id string) *core.Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subs[id]
}

func (s *store) Registration(string) *core.Registration { return nil }

func (s *store) kept() (subs []*core.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subs {
		subs = append(subs, sub)
	}
	return subs
}

func (s *store) work() {
	for s.ctx.Err() == nil {
		s.mu.Lock()
		owed := s.owed
		s.owed = nil
		s.mu.Unlock()
		for _, o := range owed {
			for _, to := range o.To {
				if !core.IsRoute(to.Owner) {
					s.mu.Lock()
					s.apps = append(s.apps, o.Event)
					s.mu.Unlock()
					continue
				}
				for core.CodeOf(s.table.Carry(s.ctx, to.Owner, o.Event, o.ID)) == core.Unavailable && s.ctx.Err() == nil {
					time.Sleep(time.Millisecond)
				}
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// world is a bridge with routes, and the systems it is connected to.
type world struct {
	t       *testing.T
	bridge  *core.Bridge
	table   *routes.Table
	store   *store
	kinds   map[string]string
	systems map[string]*system
}

// newWorld makes a bridge with a backend of each name, on the system of that name: two
// backends are on one system if they are given so.
func newWorld(t *testing.T, backends map[string]string) *world {
	t.Helper()
	w := &world{t: t, kinds: map[string]string{}, systems: map[string]*system{}}
	log := slog.New(slog.DiscardHandler)
	w.store = &store{subs: map[string]*core.Subscription{}}
	w.store.ctx, w.store.stop = context.WithCancel(context.Background())
	w.table = routes.NewTable(log, w.store.kept)
	w.store.table = w.table
	w.bridge = core.NewBridge(core.BridgeOptions{
		DefaultBackend: "wamp", Deliverer: w.table.Deliverer(w.store), Registry: w.store, Invoker: w.table.Invoker(nil), Log: log,
	})
	w.table.Attach(w.bridge)
	for name, on := range backends {
		s := w.systems[on]
		if s == nil {
			s = &system{}
			w.systems[on] = s
		}
		w.kinds[name] = on
		w.bridge.SetBackend(name, s.connect(), info(on))
	}
	w.store.tasks.Go(w.store.work)
	t.Cleanup(func() {
		w.table.Close(context.Background())
		w.store.stop()
		w.store.tasks.Wait()
		if err := w.bridge.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) apply(specs ...routes.Spec) {
	w.t.Helper()
	var all []*routes.Route
	for _, s := range specs {
		r, err := routes.Compile(s, "wamp")
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, r)
	}
	w.table.Apply(all, func(b string) string { return w.kinds[b] })
	if left := w.table.Sync(context.Background()); left > 0 {
		w.t.Fatalf("%d routes are not established", left)
	}
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%s: not within 20 s; %+v", what, w.table.Views())
		}
	}
}

func from(text string) core.Pattern {
	a, err := core.ParseAddress(text, "wamp")
	if err != nil {
		panic(err)
	}
	return core.Pattern{Address: a, Match: core.Exact}
}
