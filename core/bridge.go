package core

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Deliverer takes charge of deliveries. Deliver returns when each subscription is
// owed the event (and the debt is as safe as the Deliverer promises); it does not
// wait for attempts. It waits for room, until ctx ends, when its queues are full.
type Deliverer interface {
	Deliver(ctx context.Context, e *Event, to []*Subscription) error
}

// Invoker calls the endpoint behind a registration and returns what the app
// answered. It is called at most once per invocation.
type Invoker interface {
	Invoke(ctx context.Context, r *Registration, inv *Invocation) (*Result, error)
}

// Bridge connects frontends with backends: it owns the tables of subscriptions and
// registrations, keeps one subscription per distinct pattern on each backend, and
// carries events, calls and results between the two sides. All its methods may be
// called concurrently.
type Bridge struct {
	defaultBackend string
	deliverer      Deliverer
	invoker        Invoker
	log            *slog.Logger
	stats          Stats

	ctx  context.Context //nolint:containedctx // the lifetime of the goroutines that Close waits for
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu            sync.RWMutex // guards the maps; never held across I/O
	backends      map[string]*backendEntry
	subscriptions map[Pattern]*subscriptionGroup
	registrations map[Pattern]*registrationGroup
	excluders     map[string]int // owner → its subscriptions with ExcludeMe
}

// backendEntry is one backend and what serialises changes to its tables.
type backendEntry struct {
	name   string
	open   atomic.Pointer[openBackend] // replaced whole by SetBackend
	change chan struct{}               // a semaphore of one, so that waiting for it can end with ctx
}

// openBackend is a backend with what it said when it was opened.
type openBackend struct {
	Backend
	info Info
}

// Stats are the bridge's cumulative counters.
type Stats struct {
	EventsOut, EventsIn, Deliveries atomic.Int64
	CallsOut, CallsOutFailed        atomic.Int64
	CallsIn, CallsInFailed          atomic.Int64
	InvocationsNow                  atomic.Int64
}

// BridgeOptions are what a Bridge needs; all fields are required.
type BridgeOptions struct {
	DefaultBackend string // where addresses without a prefix belong
	Deliverer      Deliverer
	Invoker        Invoker
	Log            *slog.Logger
}

// NewBridge makes a bridge without backends.
func NewBridge(o BridgeOptions) *Bridge {
	ctx, stop := context.WithCancel(context.Background())
	return &Bridge{
		defaultBackend: o.DefaultBackend,
		deliverer:      o.Deliverer,
		invoker:        o.Invoker,
		log:            o.Log,
		ctx:            ctx,
		stop:           stop,
		backends:       map[string]*backendEntry{},
		subscriptions:  map[Pattern]*subscriptionGroup{},
		registrations:  map[Pattern]*registrationGroup{},
		excluders:      map[string]int{},
	}
}

// DefaultBackend is where addresses without a prefix belong.
func (b *Bridge) DefaultBackend() string { return b.defaultBackend }

// Stats are the live counters.
func (b *Bridge) Stats() *Stats { return &b.stats }

// SetBackend adds an open backend, or puts it in the place of the one with that
// name. What is subscribed and registered stays with the one it was made on.
func (b *Bridge) SetBackend(name string, backend Backend, info Info) {
	b.mu.Lock()
	defer b.mu.Unlock()
	entry := b.backends[name]
	if entry == nil {
		entry = &backendEntry{name: name, change: make(chan struct{}, 1)}
		b.backends[name] = entry
	}
	entry.open.Store(&openBackend{backend, info})
}

// RemoveBackend forgets a backend with all its subscriptions and registrations,
// whose streams it closes. It does not close the backend.
func (b *Bridge) RemoveBackend(name string) {
	b.mu.Lock()
	delete(b.backends, name)
	var subs []*subscriptionGroup
	var regs []*registrationGroup
	for p, g := range b.subscriptions {
		if p.Backend == name {
			for _, s := range *g.members.Load() {
				b.setMember(g, s.Owner, nil)
			}
			delete(b.subscriptions, p)
			subs = append(subs, g)
		}
	}
	for p, g := range b.registrations {
		if p.Backend == name {
			delete(b.registrations, p)
			regs = append(regs, g)
		}
	}
	b.mu.Unlock()
	for _, g := range subs {
		_ = g.stream.Close()
	}
	for _, g := range regs {
		_ = g.stream.Close()
	}
}

// BackendView is what Backends tells of one backend.
type BackendView struct {
	Name    string
	Info    Info
	Backend Backend
}

// Backends lists the backends by name.
func (b *Bridge) Backends() []BackendView {
	b.mu.RLock()
	defer b.mu.RUnlock()
	views := make([]BackendView, 0, len(b.backends))
	for _, name := range slices.Sorted(maps.Keys(b.backends)) {
		entry := b.backends[name]
		open := entry.open.Load()
		views = append(views, BackendView{Name: name, Info: open.info, Backend: open.Backend})
	}
	return views
}

func (b *Bridge) entry(name string) (*backendEntry, error) {
	b.mu.RLock()
	entry := b.backends[name]
	b.mu.RUnlock()
	if entry == nil {
		return nil, Errorf(NoSuchBackend, "no backend named %q is configured", name)
	}
	return entry, nil
}

// Publish hands the event to its backend and returns when that has accepted it.
// e.ID is then the id under which subscribers see it.
func (b *Bridge) Publish(ctx context.Context, e *Event) error {
	entry, err := b.entry(e.Topic.Backend)
	if err != nil {
		return err
	}
	if err := e.Topic.Valid(); err != nil {
		return err
	}
	backend := entry.open.Load()
	can := backend.info.Can
	switch {
	case !can.Publish:
		return Errorf(Unimplemented, "backend %q cannot publish", entry.name)
	case e.Options.Retain && !can.Retain:
		return Errorf(Unimplemented, "backend %q cannot retain events", entry.name)
	case e.ExcludeMe && !can.Origin:
		return Errorf(Unimplemented, "backend %q cannot tell its own events from others, so exclude_me is not possible", entry.name)
	}
	if !e.ExcludeMe && !b.excludes(e.Origin) {
		e.Origin = "" // nobody needs to know: spare the backend the work
	}
	if e.ID == "" {
		e.ID = NewID("evt")
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if err := backend.Publish(ctx, e); err != nil {
		return err
	}
	b.stats.EventsOut.Add(1)
	return nil
}

// Call asks the procedure and waits for its result, or for the end of ctx, which
// cancels the call all the way.
func (b *Bridge) Call(ctx context.Context, c *Call) (*Result, error) {
	entry, err := b.entry(c.Procedure.Backend)
	if err != nil {
		return nil, err
	}
	if err := c.Procedure.Valid(); err != nil {
		return nil, err
	}
	backend := entry.open.Load()
	if !backend.info.Can.Call {
		return nil, Errorf(Unimplemented, "backend %q cannot call procedures", entry.name)
	}
	b.stats.CallsOut.Add(1)
	result, err := backend.Call(ctx, c)
	if err != nil {
		b.stats.CallsOutFailed.Add(1)
	}
	return result, err
}

func (b *Bridge) excludes(owner string) bool {
	if owner == "" {
		return false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.excluders[owner] > 0
}

// RemoveOwner drops every subscription and registration of the owner, whose token
// is no longer valid, and returns how many there were.
func (b *Bridge) RemoveOwner(ctx context.Context, owner string) (int, error) {
	var subs, regs []Pattern
	for _, s := range b.Subscriptions(owner) {
		subs = append(subs, s.Pattern)
	}
	for _, r := range b.Registrations(owner) {
		regs = append(regs, r.Pattern)
	}
	_, errSubs := b.Unsubscribe(ctx, owner, subs)
	_, errRegs := b.Unregister(ctx, owner, regs)
	if errSubs != nil {
		return 0, errSubs
	}
	return len(subs) + len(regs), errRegs
}

// Close ends all streams and waits for what is in flight until ctx ends. It does
// not close the backends.
func (b *Bridge) Close(ctx context.Context) error {
	for _, v := range b.Backends() {
		b.RemoveBackend(v.Name)
	}
	done := make(chan struct{})
	go func() {
		b.wg.Wait()
		close(done)
	}()
	defer b.stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		b.stop()
		<-done
		return ctx.Err()
	}
}

// lock takes the change semaphores of all backends that the patterns name, in
// one order for everybody, and returns the entries and the unlock function.
func (b *Bridge) lock(ctx context.Context, patterns []Pattern) (map[string]*backendEntry, func(), error) {
	entries := map[string]*backendEntry{}
	for _, p := range patterns {
		if entries[p.Backend] == nil {
			entry, err := b.entry(p.Backend)
			if err != nil {
				return nil, nil, err
			}
			entries[p.Backend] = entry
		}
	}
	var held []*backendEntry
	unlock := func() {
		for _, entry := range held {
			<-entry.change
		}
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		select {
		case entries[name].change <- struct{}{}:
			held = append(held, entries[name])
		case <-ctx.Done():
			unlock()
			return nil, nil, AsError(ctx.Err())
		}
	}
	return entries, unlock, nil
}
