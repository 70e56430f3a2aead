package xmpp

import (
	"context"
	"encoding/json"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// Backend implements core.Backend on XMPP.
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
	client *stream.Client
	ctx    context.Context //nolint:containedctx // ends with the backend, whose goroutines all have it
	cancel context.CancelFunc
	work   sync.WaitGroup
	feeds  kit.FeedCounts

	mu          sync.Mutex
	config      *Config
	closed      bool
	subs        map[string][]*subscription // by topic.key
	rooms       map[string]*room           // by bare JID
	procedures  map[string]*procedure      // by node
	invocations map[string]*invocation     // by caller and id
	pending     map[string]*pending        // publishes, by the stanza's id
	services    map[string]bool            // domains, and whether rooms are there
	siblings    map[string]jid.JID         // other sessions of our account
	settled     chan struct{}              // closed when the server has heard of us, and we of the others
	session     int                        // counts the sessions
	lostAt      time.Time                  // when the connection was lost
}

const (
	answerPatience = 30 * time.Second // how long anybody on the other side has to answer
	maxServices    = 1000             // domains that are remembered
	shutdownGrace  = time.Second
	maxRoomsAtOnce = 1000
	idleRoom       = 10 * time.Minute
	maxOccupants   = 10_000
	attemptsToJoin = 6
)

// Open implements core.Backend.
func (b *Backend) Open(ctx context.Context, config json.RawMessage) (core.Info, error) {
	cfg, err := parseConfig(config)
	if err != nil {
		return core.Info{}, err
	}
	b.change.Lock()
	defer b.change.Unlock()
	if r := b.open.Load(); r != nil {
		if err := r.reconfigure(cfg); err != nil {
			return core.Info{}, err
		}
		return r.info(), nil
	}
	r := start(cfg, b.log)
	b.open.Store(r)
	ctx, cancel := context.WithTimeout(ctx, kit.OpenPatience)
	defer cancel()
	select {
	case <-r.client.Tried():
		if r.client.Up() == nil {
			_ = r.introduced(ctx)
		}
	case <-ctx.Done():
	} // a server that is away is not an error: see Status
	return r.info(), nil
}

func start(cfg *Config, log *slog.Logger) *running {
	r := &running{
		log: log, config: cfg,
		subs: map[string][]*subscription{}, rooms: map[string]*room{}, procedures: map[string]*procedure{},
		invocations: map[string]*invocation{}, pending: map[string]*pending{}, services: map[string]bool{},
		siblings: map[string]jid.JID{}, settled: make(chan struct{}),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	ready := make(chan struct{}) // nothing may come in before r.client is set
	r.client = stream.New(stream.Options{
		JID: cfg.jid, Password: cfg.Password, Server: cfg.Server, Mode: stream.TLSMode(cfg.TLS.Mode), TLS: cfg.tls,
		MaxSend: cfg.MaxStanza, MaxReceive: cfg.MaxReceive, MaxQueue: cfg.MaxSendQueue,
		Keepalive: cfg.Keepalive, Log: log,
		OnFresh: func() { <-ready; r.onFresh() }, OnResumed: func() {}, OnLost: r.onLost, OnStanza: r.onStanza,
	})
	close(ready)
	r.mu.Lock()
	r.configureRooms()
	r.mu.Unlock()
	return r
}

func (r *running) cfg() *Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.config
}

// reconfigure applies a changed configuration in place, or changes nothing.
func (r *running) reconfigure(cfg *Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !cfg.sameSession(r.config) {
		return core.Errorf(core.Unimplemented, "a changed account, server or size needs a fresh start")
	}
	for key, old := range r.config.rooms {
		if now, ok := cfg.rooms[key]; ok && !reflect.DeepEqual(old, now) {
			return core.Errorf(core.Unimplemented, "a changed name or password in a room needs a fresh start")
		}
	}
	if cfg.Nick != r.config.Nick {
		return core.Errorf(core.Unimplemented, "a changed nick needs a fresh start")
	}
	r.config = cfg
	r.configureRooms()
	return nil
}

// configureRooms makes the configured rooms wanted and the others not. r.mu is held.
func (r *running) configureRooms() {
	for key := range r.config.rooms {
		if m := r.roomLocked(key); m != nil {
			m.configured = true
		}
	}
	for key, m := range r.rooms {
		if _, ok := r.config.rooms[key]; !ok && m.configured {
			m.configured = false
			m.poke()
		}
	}
}

func (r *running) info() core.Info {
	return core.Info{
		Kind: "xmpp",
		Can: core.Capabilities{
			Publish: true, Subscribe: []core.Match{core.Exact},
			Call: true, Register: []core.Match{core.Exact},
		},
	}
}

// spawn runs f in a goroutine that Close waits for.
func (r *running) spawn(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spawnLocked(f)
}

func (r *running) spawnLocked(f func()) {
	if !r.closed {
		r.work.Go(f)
	}
}

// onFresh begins a session: nothing that others knew of us holds any longer.
func (r *running) onFresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session++
	session, since := r.session, r.lostAt
	clear(r.siblings)
	settled := make(chan struct{})
	r.settled = settled
	for _, m := range r.rooms {
		m.outLocked("reconnected", since)
	}
	for key, i := range r.invocations {
		i.cancelLocked()
		delete(r.invocations, key) // nobody can be answered any more
	}
	r.spawnLocked(func() {
		r.restore(session, since)
		// The server handles one thing after the other: when it answers this, it has told
		// the others of us, and us of the others.
		_, _ = r.ask(r.ctx, "get", r.client.JID().Domain(), "ping", stream.E(nsPing, "ping"))
		close(settled)
	})
}

// introduced waits until the session is there and the server has told us who else is.
func (r *running) introduced(ctx context.Context) error {
	if err := r.client.Ready(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	settled := r.settled
	r.mu.Unlock()
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *running) onLost() {
	r.mu.Lock()
	r.lostAt = time.Now()
	r.mu.Unlock()
}

// restore makes the server know again what we want. Rooms see to themselves.
func (r *running) restore(session int, since time.Time) {
	if r.client.Ready(r.ctx) != nil {
		return
	}
	r.send(stream.E(nsClient, "presence"))
	r.mu.Lock()
	var nodes []*subscription
	for _, subs := range r.subs {
		for _, s := range subs {
			switch {
			case s.topic.node != "":
				nodes = append(nodes, s)
			case s.room == nil && !since.IsZero():
				s.gap(since, "reconnected: messages may have been lost, unless the server has kept them")
			}
		}
	}
	r.mu.Unlock()
	for _, s := range nodes {
		r.spawn(func() { r.resubscribe(session, s, since) })
	}
}

// send sends what nobody waits for.
func (r *running) send(e *stream.Element) {
	if _, err := r.client.Send(e, false); err != nil {
		r.client.Count("stanzas_not_sent", 1)
	}
}

// ask makes a request and turns an answer of type error into an error.
func (r *running) ask(ctx context.Context, kind string, to jid.JID, what string, payload *stream.Element) (*stream.Element, error) {
	iq := stream.E(nsClient, "iq", payload).Set("type", kind).Set("to", to.String())
	ctx, cancel := context.WithTimeoutCause(ctx, answerPatience, core.Errorf(core.Timeout, "%s: no answer in %s", what, answerPatience))
	defer cancel()
	answer, err := r.client.Ask(ctx, iq)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	if answer.Attr("type") == "error" {
		return answer, stanzaError(answer, what)
	}
	return answer, nil
}

func (b *Backend) running() (*running, error) {
	if r := b.open.Load(); r != nil {
		return r, nil
	}
	return nil, core.Errorf(core.Unavailable, "the backend is not open")
}

// Publish implements core.Backend. A room's message is accepted when the room has sent
// it to its occupants, us among them; a chat's when our server has it; a node's item when
// the service says so.
func (b *Backend) Publish(ctx context.Context, e *core.Event) error {
	r, err := b.running()
	if err != nil {
		return err
	}
	return r.publish(ctx, e)
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
	return r.call(ctx, c)
}

// Register implements core.Backend.
func (b *Backend) Register(_ context.Context, p core.Pattern, o core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	r, err := b.running()
	if err != nil {
		return nil, err
	}
	return r.register(p, o)
}

// Status implements core.Backend. The reason tells of rooms that could not be joined,
// too.
func (b *Backend) Status(context.Context) (core.Status, error) {
	r := b.open.Load()
	if r == nil {
		return core.Status{State: core.Down, Reason: "not open"}, nil
	}
	s := r.client.Status()
	s.Counters["events_dropped"] = r.feeds.Dropped.Load()
	s.Counters["gaps"] = r.feeds.Gaps.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Counters["rooms_now"] = 0
	for _, m := range r.rooms {
		switch {
		case m.joined:
			s.Counters["rooms_now"]++
		case m.err != nil && s.Reason == "":
			s.Reason = m.err.Error()
		}
	}
	s.Counters["invocations_now"] = int64(len(r.invocations))
	return s, nil
}

// Close implements core.Backend: open invocations get their time first.
func (b *Backend) Close(ctx context.Context) error {
	b.change.Lock()
	defer b.change.Unlock()
	r := b.open.Swap(nil)
	if r == nil {
		return nil
	}
	r.drain(ctx)
	r.mu.Lock()
	r.closed = true
	var subs []*subscription
	for _, list := range r.subs {
		subs = append(subs, list...)
	}
	r.subs = map[string][]*subscription{}
	r.mu.Unlock()
	r.cancel()
	r.work.Wait() // rooms are left
	grace, cancel := context.WithTimeout(ctx, shutdownGrace)
	defer cancel()
	err := r.client.Close(grace)
	for _, s := range subs {
		s.End(nil)
	}
	return err
}
