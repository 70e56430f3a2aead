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

// Owed is an event with the subscriptions it is to be delivered to. All of them
// have the same pattern.
type Owed struct {
	Event *Event
	// ID is the one that the backend gave the event. Two bridges that hear the same
	// event from one system know it by its ID.
	ID string
	To []*Subscription
}

// Deliverer takes charge of deliveries.
type Deliverer interface {
	// Room returns nil if there is room for more, or TooMany or Unavailable with
	// the reason. It answers at once.
	Room() error
	// Deliver returns when every debt is as safe as the Deliverer promises; it does
	// not wait for attempts, and bounds what it does wait for. Events of one pattern are delivered in the order in
	// which Deliver was given them. It keeps nothing of what it was given. After an
	// error some of the debts may have been taken.
	Deliver(ctx context.Context, owed []Owed) error
}

// Registry keeps subscriptions and registrations beyond this process.
type Registry interface {
	// Save returns when all of them are kept, in the place of those with the same
	// ID; after an error none of them is.
	Save(ctx context.Context, subs []*Subscription, regs []*Registration) error
	// Delete returns when none of them is kept any more.
	Delete(ctx context.Context, subs []*Subscription, regs []*Registration) error
	// Subscription and Registration return what is kept under an ID, or nil. They
	// answer at once.
	Subscription(id string) *Subscription
	Registration(id string) *Registration
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
	registry       Registry // nil: nothing is kept
	onGap          func(Pattern, *Gap)
	invoker        Invoker
	log            *slog.Logger
	stats          Stats

	ctx  context.Context //nolint:containedctx // the lifetime of the goroutines that Close waits for
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu            sync.RWMutex // guards the maps; never held across I/O
	backends      map[string]*backendEntry
	subscriptions map[Pattern]*subscriptionGroup
	topics        PatternTable[*subscriptionGroup] // the same groups, by what they cover
	registrations map[Pattern]*registrationGroup
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
	Gaps                            atomic.Int64 // times in which subscriptions could not hear
}

// BridgeOptions are what a Bridge needs; all fields but Registry and OnGap are
// required.
type BridgeOptions struct {
	DefaultBackend string // where addresses without a prefix belong
	Deliverer      Deliverer
	Registry       Registry // nil: subscriptions and registrations end with the process
	Invoker        Invoker
	// OnGap is told when a subscription may have missed events. It does not block.
	OnGap func(Pattern, *Gap)
	Log   *slog.Logger
}

// NewBridge makes a bridge without backends.
func NewBridge(o BridgeOptions) *Bridge {
	ctx, stop := context.WithCancel(context.Background())
	return &Bridge{
		defaultBackend: o.DefaultBackend,
		deliverer:      o.Deliverer,
		registry:       o.Registry,
		onGap:          o.OnGap,
		invoker:        o.Invoker,
		log:            o.Log,
		ctx:            ctx,
		stop:           stop,
		backends:       map[string]*backendEntry{},
		subscriptions:  map[Pattern]*subscriptionGroup{},
		registrations:  map[Pattern]*registrationGroup{},
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
			b.removeGroup(g)
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

// Publish hands the event to its backend and returns when that has accepted it and
// the Deliverer has taken charge of every delivery that is owed here. e.ID is then
// the id under which subscribers see it; one that was set before stays, for the
// HTTP subscribers. Nothing is published while there is no room for the deliveries.
func (b *Bridge) Publish(ctx context.Context, e *Event) error {
	p, err := b.prepare(e)
	if err != nil {
		return err
	}
	return b.complete(ctx, p, p.backend.Publish(ctx, e))
}

// PublishBatch publishes events to one backend in their order, as far as the backend
// keeps one, and returns an error or nil for each, as Publish would.
func (b *Bridge) PublishBatch(ctx context.Context, events []*Event) []error {
	errs := make([]error, len(events))
	var prepared []publishing
	var accepted []*Event
	var places []int
	for i, e := range events {
		p, err := b.prepare(e)
		if err == nil && len(prepared) > 0 && p.backend != prepared[0].backend {
			err = Errorf(InvalidArgument, "events of one batch must be for one backend")
		}
		if err != nil {
			errs[i] = err
			continue
		}
		prepared, accepted, places = append(prepared, p), append(accepted, e), append(places, i)
	}
	if len(prepared) == 0 {
		return errs
	}
	for i, err := range PublishBatch(ctx, prepared[0].backend.Backend, accepted) {
		errs[places[i]] = b.complete(ctx, prepared[i], err)
	}
	return errs
}

// publishing is an event on its way to a backend.
type publishing struct {
	event   *Event
	name    string
	backend *openBackend
	owed    []Owed
	id      string // what it was named, or ""
}

// prepare checks an event and finds out who is owed it here.
func (b *Bridge) prepare(e *Event) (publishing, error) {
	entry, err := b.entry(e.Topic.Backend)
	if err != nil {
		return publishing{}, err
	}
	if err := e.Topic.Valid(); err != nil {
		return publishing{}, err
	}
	p := publishing{event: e, name: entry.name, backend: entry.open.Load(), id: e.ID}
	can := p.backend.info.Can
	switch {
	case !can.Publish:
		return publishing{}, Errorf(Unimplemented, "backend %q cannot publish", entry.name)
	case e.Options.Retain && !can.Retain:
		return publishing{}, Errorf(Unimplemented, "backend %q cannot retain events", entry.name)
	}
	p.owed = b.owed(e)
	if len(p.owed) > 0 {
		if err := b.deliverer.Room(); err != nil {
			return publishing{}, err
		}
	}
	if e.ID == "" {
		e.ID = NewID("evt")
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	return p, nil
}

// complete ends a publish that the backend has accepted or refused with err.
func (b *Bridge) complete(ctx context.Context, p publishing, err error) error {
	if err != nil {
		return err
	}
	e, owed := p.event, p.owed
	for i := range owed {
		owed[i].ID = e.ID
	}
	if p.id != "" {
		e.ID = p.id
	}
	b.stats.EventsOut.Add(1)
	if len(owed) == 0 || e.Withheld {
		return nil
	}
	// Whoever asked may hang up: what others have got, our subscribers get too.
	if err := b.deliverer.Deliver(context.WithoutCancel(ctx), owed); err != nil {
		code := Unavailable
		if e := AsError(err); e.Code == TooMany {
			code = TooMany
		}
		return Errorf(code, "backend %q has the event, but it could not be stored for the HTTP subscribers: %w", p.name, err)
	}
	for _, o := range owed {
		b.stats.Deliveries.Add(int64(len(o.To)))
	}
	return nil
}

// owed are the deliveries that an event published here is going to be owed.
func (b *Bridge) owed(e *Event) (owed []Owed) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	b.topics.Each(e.Topic, func(g *subscriptionGroup) bool {
		if to := recipients(e, *g.members.Load()); len(to) > 0 {
			owed = append(owed, Owed{Event: e, To: to})
		}
		return true
	})
	return owed
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
