// Plugin-mqtt connects anybridge with an MQTT 5 server. It is a whole backend in one file,
// outside the module of anybridge, as yours would be:
//
//	backends:
//	  mqtt: {plugin: ./plugin-mqtt, config: {server: "mqtt://127.0.0.1:1883"}}
//
// Dots and slashes change places: the address mqtt:shop.orders is the topic
// shop/orders. A payload is {"args": […], "kwargs": {…}} in JSON; any other JSON that
// comes in is the only argument, anything else a text. The procedure shop.add answers on
// the topic rpc/shop/add, with MQTT's own response topic and correlation data.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins"
)

func main() {
	plugins.Serve(func(env plugins.Env) core.Backend { return newBackend(env.Log) })
}

const (
	connecting   = "connecting"
	openPatience = 5 * time.Second
	queueEvents  = 100_000
	queueBytes   = 64 << 20
	maxPayload   = 16 << 20
	maxLevels    = 200 // Mosquitto's
)

// config is the backend's section.
type config struct {
	Server   string `json:"server"`
	Username string `json:"username"`
	Password string `json:"password"`
	Prefix   string `json:"prefix"` // of every topic, e.g. "site1/"
	Queue    int    `json:"queue"`  // events that may wait for one subscription
}

type backend struct {
	log    *slog.Logger
	config config
	client string // this connection's id
	cm     *autopaho.ConnectionManager
	stop   context.CancelFunc // ends cm
	work   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	up      context.Context //nolint:containedctx // ends with the connection; nil without one
	down    context.CancelFunc
	reason  string    // why there is no connection
	since   time.Time // since when
	lastID  int
	filters map[string]*filter
	calls   map[string]chan *paho.Publish      // by correlation data
	open    map[*core.Invocation]*paho.Publish // what came in and is not answered
	dropped int64
}

func newBackend(log *slog.Logger) *backend {
	return &backend{
		log: log, reason: connecting, filters: map[string]*filter{},
		calls: map[string]chan *paho.Publish{}, open: map[*core.Invocation]*paho.Publish{},
	}
}

// Open implements core.Backend.
func (b *backend) Open(ctx context.Context, section json.RawMessage) (core.Info, error) {
	c := config{Queue: queueEvents}
	d := json.NewDecoder(bytes.NewReader(section))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return core.Info{}, core.Errorf(core.InvalidArgument, "read config: %w", err)
	}
	server, err := url.Parse(c.Server)
	switch {
	case err != nil || server.Host == "":
		return core.Info{}, core.Errorf(core.InvalidArgument, "server: want mqtt://host:1883 or mqtts://host:8883")
	case server.User != nil:
		return core.Info{}, core.Errorf(core.InvalidArgument, "server: user and password have keys of their own")
	case strings.ContainsAny(c.Prefix, "+#"):
		return core.Info{}, core.Errorf(core.InvalidArgument, "prefix: wildcards are not allowed")
	}
	info := core.Info{Kind: "mqtt", Can: core.Capabilities{
		Publish: true, Subscribe: []core.Match{core.Exact, core.Prefix, core.Wildcard}, Retain: true,
		Call: true, Register: []core.Match{core.Exact},
	}}
	if b.cm != nil {
		if c != b.config {
			return core.Info{}, core.Errorf(core.Unimplemented, "a changed section needs a fresh connection")
		}
		return info, nil
	}
	running, stop := context.WithCancel(context.Background())
	b.config, b.stop, b.client = c, stop, core.NewID("anybridge")
	b.mu.Lock()
	b.filters[b.replies()] = &filter{id: b.id(), replies: true}
	b.mu.Unlock()
	b.cm, err = autopaho.NewConnection(running, autopaho.ClientConfig{
		ServerUrls: []*url.URL{server}, KeepAlive: 20, CleanStartOnInitialConnection: true,
		ConnectUsername: c.Username, ConnectPassword: []byte(c.Password),
		ReconnectBackoff: func(n int) time.Duration {
			if n == 0 {
				return 0
			}
			longest := min(100*time.Millisecond<<min(n, 10), 5*time.Second)
			return longest/2 + rand.N(longest/2)
		},
		OnConnectionUp:   func(cm *autopaho.ConnectionManager, _ *paho.Connack) { b.work.Go(func() { b.connected(running, cm) }) },
		OnConnectionDown: func() bool { b.disconnected("the connection was lost"); return true },
		OnConnectError:   func(err error) { b.disconnected(err.Error()) },
		ClientConfig: paho.ClientConfig{ClientID: b.client, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(r paho.PublishReceived) (bool, error) { b.received(r.Packet); return true, nil },
		}},
	})
	if err != nil {
		stop()
		return core.Info{}, core.Errorf(core.InvalidArgument, "server: %w", err)
	}
	first, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	for first.Err() == nil && b.trying() { // a server that is away is no error
		time.Sleep(10 * time.Millisecond)
	}
	return info, nil
}

// connected subscribes to everything again; only then the backend is up.
func (b *backend) connected(ctx context.Context, cm *autopaho.ConnectionManager) {
	b.mu.Lock()
	var all []*paho.Subscribe
	for topic, f := range b.filters {
		all = append(all, f.subscribe(topic, 0))
	}
	b.mu.Unlock()
	for _, s := range all {
		if _, err := cm.Subscribe(ctx, s); err != nil {
			b.log.Warn("cannot subscribe again", slog.Any("error", err))
			cm.TerminateConnectionForTest() // and so try again
			return
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.up, b.down = context.WithCancel(ctx)
	b.reason = ""
	if b.since.IsZero() {
		return
	}
	gap := &core.Gap{Since: b.since, Until: time.Now(), Reason: "the connection to the server was lost"}
	for _, f := range b.filters {
		for _, s := range f.subs {
			s.put(b, &core.Event{Topic: s.pattern.Address, Gap: gap})
		}
	}
}

func (b *backend) disconnected(why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.up != nil {
		b.down()
		b.up, b.since = nil, time.Now()
	}
	b.reason = why
}

// connection is a context that ends with the connection, or nil.
func (b *backend) connection() context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.up
}

// trying reports whether the first attempt to connect is still going on.
func (b *backend) trying() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.up == nil && b.reason == connecting
}

// id makes a number that is unique in this process. b.mu is held.
func (b *backend) id() int { b.lastID++; return b.lastID }

// request does something on the connection: it ends with that, and with ctx.
func (b *backend) request(ctx context.Context, do func(context.Context) error) error {
	up := b.connection()
	if up == nil {
		return core.Errorf(core.Unavailable, "the MQTT server is away")
	}
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(up, cancel)()
	err := do(both)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return core.AsError(ctx.Err())
	case core.CodeOf(err) != core.Internal && up.Err() == nil:
		return err
	}
	return core.Errorf(core.Unavailable, "the MQTT server is away or refuses: %w", err)
}

// send publishes with QoS 1 and returns when the server has it, and whether anybody
// else has.
func (b *backend) send(ctx context.Context, p *paho.Publish) (heard bool, err error) {
	p.QoS = 1
	if len(p.Payload) > maxPayload {
		return false, core.Errorf(core.TooLarge, "a payload of %d bytes: at most %d", len(p.Payload), maxPayload)
	}
	const noSubscribers = 0x10
	err = b.request(ctx, func(ctx context.Context) error {
		r, err := b.cm.Publish(ctx, p)
		heard = r != nil && r.ReasonCode != noSubscribers
		return err
	})
	return heard, err
}

// Publish implements core.Backend.
func (b *backend) Publish(ctx context.Context, e *core.Event) error {
	topic, err := b.topic("", e.Topic.Name)
	if err != nil {
		return err
	}
	_, err = b.send(ctx, &paho.Publish{Topic: topic, Retain: e.Options.Retain, Payload: []byte(e.JSON())})
	return err
}

// Status implements core.Backend.
func (b *backend) Status(context.Context) (core.Status, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	st := core.Status{State: core.Up, Reason: b.reason, Counters: map[string]int64{"events_dropped": b.dropped}}
	switch {
	case b.closed:
		st.State, st.Reason = core.Down, "closed"
	case b.up == nil:
		st.State = core.Connecting
	}
	return st, nil
}

// Close implements core.Backend.
func (b *backend) Close(ctx context.Context) error {
	b.mu.Lock()
	first := !b.closed && b.cm != nil
	b.closed = true
	var open []*core.Invocation
	for inv := range b.open {
		open = append(open, inv)
	}
	b.mu.Unlock()
	if !first {
		return nil
	}
	for _, inv := range open {
		inv.Reply(nil, core.Errorf(core.Unavailable, "the bridge is closing"))
	}
	b.work.Wait() // for the answers, each of which has a deadline
	_ = b.cm.Disconnect(ctx)
	b.disconnected("closed")
	b.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.filters {
		for _, s := range f.subs {
			s.End(nil)
		}
		if f.calls != nil {
			f.calls.End(nil)
		}
	}
	return nil
}
