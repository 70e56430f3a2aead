// Plugin-mqtt connects anybridge with an MQTT 5 server. It is a whole backend in one file,
// outside the module of anybridge, as yours would be; what every backend needs, the
// package kit has:
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
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins"
	"github.com/anybridge/anybridge/plugins/kit"
)

func main() {
	plugins.Serve(func(env plugins.Env) core.Backend { return newBackend(env.Log) })
}

const (
	queueBytes = 64 << 20
	maxPayload = 16 << 20
	maxLevels  = 200             // Mosquitto's
	patience   = 5 * time.Second // for an answer to reach the server
)

// config is the backend's section.
type config struct {
	Server   string  `json:"server"`
	TLS      kit.TLS `json:"tls"`
	Username string  `json:"username"`
	Password string  `json:"password"`
	Prefix   string  `json:"prefix"` // of every topic, e.g. "site1/"
	Queue    int     `json:"queue"`  // events that may wait for one subscription
}

type backend struct {
	link    *kit.Link
	config  config
	address string      // of the server, host:port
	tls     *tls.Config // nil without TLS
	id      string      // of this client
	replies string      // the topic on which answers to our calls come
	topics  *kit.Topics[*paho.Publish]
	calls   kit.Pending[*paho.Publish]
	answers sync.WaitGroup
	client  atomic.Pointer[paho.Client] // the newest
}

func newBackend(log *slog.Logger) *backend {
	return &backend{link: kit.NewLink(kit.LinkOptions{Name: "the MQTT server", Log: log})}
}

// Open implements core.Backend.
func (b *backend) Open(ctx context.Context, section json.RawMessage) (core.Info, error) {
	var m kit.Mistakes
	c := config{Queue: 100_000}
	m.Decode("", section, &c)
	server, err := url.Parse(c.Server)
	switch {
	case err != nil || server.Host == "" || server.Scheme != "mqtt" && server.Scheme != "mqtts":
		m.Add("server", "want mqtt://host:1883 or mqtts://host:8883")
	case server.User != nil:
		m.Add("server", "user and password have keys of their own")
	}
	if strings.ContainsAny(c.Prefix, "+#") {
		m.Add("prefix", "wildcards are not allowed")
	}
	trust := c.TLS.Load(&m, "tls")
	if err := m.Err(); err != nil {
		return core.Info{}, err
	}
	info := core.Info{Kind: "mqtt", Can: core.Capabilities{
		Publish: true, Subscribe: []core.Match{core.Exact, core.Prefix, core.Wildcard}, Retain: true,
		Call: true, Register: []core.Match{core.Exact},
	}}
	if b.topics != nil { // it is open
		if c != b.config {
			return core.Info{}, core.Errorf(core.Unimplemented, "a changed section needs a fresh connection")
		}
		return info, nil
	}
	b.config, b.id = c, core.NewID("anybridge")
	b.replies = c.Prefix + "reply/" + b.id
	b.address = net.JoinHostPort(server.Hostname(), cmp.Or(server.Port(), "1883"))
	if server.Scheme == "mqtts" {
		b.address, b.tls = net.JoinHostPort(server.Hostname(), cmp.Or(server.Port(), "8883")), trust
	}
	b.topics = kit.NewTopics(b.link, kit.TopicsOptions[*paho.Publish]{
		Subscribe: b.subscribe, Unsubscribe: b.unsubscribe, Event: b.event, Invocation: b.invocation,
		MaxEvents: c.Queue, MaxBytes: queueBytes,
	})
	b.link.Start(b.session)
	b.link.Ready(ctx)
	return info, nil
}

// session is one connection to the server, from the dial to its end.
func (b *backend) session(ctx context.Context) error {
	conn, err := kit.Dial(ctx, b.address, b.tls)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	client := paho.NewClient(paho.ClientConfig{
		Conn: packets.NewThreadSafeConn(conn), OnClientError: end,
		OnServerDisconnect: func(d *paho.Disconnect) {
			end(fmt.Errorf("the server ended the connection: reason 0x%x", d.ReasonCode))
		},
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(r paho.PublishReceived) (bool, error) { b.received(r.Packet); return true, nil },
		},
	})
	ack, err := client.Connect(ctx, &paho.Connect{
		ClientID: b.id, CleanStart: true, KeepAlive: 20, Username: b.config.Username, UsernameFlag: b.config.Username != "",
		Password: []byte(b.config.Password), PasswordFlag: b.config.Password != "",
	})
	switch {
	case ack != nil && (ack.ReasonCode == packets.ConnackBadUsernameOrPassword || ack.ReasonCode == packets.ConnackNotAuthorized):
		return core.Errorf(core.Forbidden, "the server refuses the user or password")
	case err != nil:
		return err
	}
	defer func() {
		_ = client.Disconnect(&paho.Disconnect{})
		<-client.Done()
	}()
	b.client.Store(client)
	if _, err = client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: b.replies, QoS: 1}}}); err != nil {
		return fmt.Errorf("subscribe to %s: %w", b.replies, err)
	}
	if err := b.topics.Up(ctx, slog.String("server", b.address)); err != nil {
		return err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// subscribe asks for what is retained when the topic is new, and leaves out what we
// publish ourselves, except calls.
func (b *backend) subscribe(ctx context.Context, t kit.Topic) error {
	const ifNew, never = 1, 2
	options := paho.SubscribeOptions{Topic: t.Name, QoS: 1, NoLocal: !t.Calls, RetainHandling: ifNew}
	if t.Again {
		options.RetainHandling = never
	}
	_, err := b.client.Load().Subscribe(ctx, &paho.Subscribe{
		Properties: &paho.SubscribeProperties{SubscriptionIdentifier: &t.ID}, Subscriptions: []paho.SubscribeOptions{options},
	})
	return err
}

func (b *backend) unsubscribe(ctx context.Context, t kit.Topic) error {
	_, err := b.client.Load().Unsubscribe(ctx, &paho.Unsubscribe{Topics: []string{t.Name}})
	return err
}

// received takes a message from the server; it must not wait.
func (b *backend) received(m *paho.Publish) {
	switch id := m.Properties.SubscriptionIdentifier; {
	case m.Topic == b.replies:
		b.calls.Answer(string(m.Properties.CorrelationData), m)
	case id != nil:
		b.topics.Deliver(*id, m)
	}
}

// Publish implements core.Backend.
func (b *backend) Publish(ctx context.Context, e *core.Event) error {
	topic, err := b.topic("", e.Topic.Name)
	if err != nil {
		return err
	}
	return b.link.Do(ctx, func(ctx context.Context) error {
		_, err := b.send(ctx, &paho.Publish{Topic: topic, Retain: e.Options.Retain, Payload: []byte(e.JSON())})
		return err
	})
}

// send publishes with QoS 1: it returns when the server has it, and whether anybody else has.
func (b *backend) send(ctx context.Context, p *paho.Publish) (heard bool, err error) {
	if len(p.Payload) > maxPayload {
		return false, core.Errorf(core.TooLarge, "a payload of %d bytes: at most %d", len(p.Payload), maxPayload)
	}
	p.QoS = 1
	r, err := b.client.Load().Publish(ctx, p)
	return r != nil && r.ReasonCode != packets.PubackNoMatchingSubscribers, err
}

// Subscribe implements core.Backend with the narrowest topic filter that covers the
// pattern.
func (b *backend) Subscribe(ctx context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	topic, err := b.topic("", p.Name)
	if err != nil {
		return nil, err
	}
	switch p.Match {
	case core.Prefix:
		topic = topic[:strings.LastIndexByte(topic, '/')+1] + "#"
	case core.Wildcard:
		levels := strings.Split(swap(p.Name), "/")
		for i, level := range levels {
			levels[i] = cmp.Or(level, "+")
		}
		topic = b.config.Prefix + strings.Join(levels, "/")
	}
	return b.topics.Feed(ctx, topic, p)
}

func (b *backend) event(m *paho.Publish) *core.Event {
	e := &core.Event{Topic: core.Address{Name: swap(strings.TrimPrefix(m.Topic, b.config.Prefix))}, Payload: kit.ReadPayload(m.Payload)}
	if m.Retain {
		e.Details = json.RawMessage(`{"retained":true}`)
	}
	return e
}

// Call implements core.Backend: MQTT 5's request/response.
func (b *backend) Call(ctx context.Context, c *core.Call) (*core.Result, error) {
	topic, err := b.topic("rpc/", c.Procedure.Name)
	if err != nil {
		return nil, err
	}
	props := &paho.PublishProperties{ResponseTopic: b.replies}
	if deadline, ok := ctx.Deadline(); ok {
		props.User.Add("timeout", strconv.FormatInt(max(1, time.Until(deadline).Milliseconds()), 10))
	}
	m, err := b.calls.Ask(ctx, b.link, func(ctx context.Context, id string) error {
		props.CorrelationData = []byte(id)
		heard, err := b.send(ctx, &paho.Publish{Topic: topic, Payload: []byte(c.JSON()), Properties: props})
		if err == nil && !heard {
			err = core.Errorf(core.NoSuchProcedure, "nobody listens on the topic %s", topic)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if user := m.Properties.User; user.Get("error") != "" {
		return nil, &core.Error{Code: core.Code(user.Get("error")), URI: user.Get("uri"), Message: user.Get("message"), Payload: kit.ReadPayload(m.Payload)}
	}
	return &core.Result{Payload: kit.ReadPayload(m.Payload)}, nil
}

// Register implements core.Backend. MQTT cannot tell whether somebody else has the
// procedure; a shared subscription makes sure that each call reaches one of them.
func (b *backend) Register(ctx context.Context, p core.Pattern, _ core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	topic, err := b.topic("rpc/", p.Name)
	if err != nil {
		return nil, err
	}
	return b.topics.Calls(ctx, "$share/anybridge/"+topic, p.Address)
}

func (b *backend) invocation(m *paho.Publish) *core.Invocation {
	ms, _ := strconv.Atoi(m.Properties.User.Get("timeout")) // 0 is none
	return &core.Invocation{
		Payload: kit.ReadPayload(m.Payload), Timeout: time.Duration(max(0, ms)) * time.Millisecond,
		Reply: func(r *core.Result, err error) { b.answers.Go(func() { b.answer(m.Properties, r, err) }) },
	}
}

// answer sends a result or an error to who called.
func (b *backend) answer(to *paho.PublishProperties, r *core.Result, err error) {
	if to.ResponseTopic == "" {
		return // nobody wants one
	}
	props := &paho.PublishProperties{CorrelationData: to.CorrelationData}
	answer := &paho.Publish{Topic: to.ResponseTopic, Properties: props, Payload: []byte("{}")}
	if e := core.AsError(err); e != nil {
		props.User.Add("error", string(e.Code)).Add("uri", text(e.URI)).Add("message", text(e.Message))
		answer.Payload = []byte(e.JSON())
	} else if r != nil {
		answer.Payload = []byte(r.JSON())
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = b.link.Do(ctx, func(ctx context.Context) error { // else the caller is gone
		_, err := b.send(ctx, answer)
		return err
	})
}

// Status implements core.Backend.
func (b *backend) Status(context.Context) (core.Status, error) {
	s := b.link.Status()
	if b.topics != nil {
		b.topics.Count(s)
	}
	return s, nil
}

// Close implements core.Backend.
func (b *backend) Close(context.Context) error {
	if b.topics != nil {
		b.topics.End()
		b.answers.Wait() // each of which has a deadline
		b.link.Stop()
	}
	return nil
}

// swap changes the places of dots and slashes, in either direction.
func swap(name string) string { return strings.NewReplacer(".", "/", "/", ".").Replace(name) }

// topic is the MQTT topic of a name.
func (b *backend) topic(space, name string) (string, error) {
	topic := b.config.Prefix + space + swap(name)
	switch {
	case strings.ContainsAny(name, "+#\x00") || !utf8.ValidString(name):
		return "", core.Errorf(core.InvalidArgument, "name %q: +, # and control characters are not allowed in MQTT topics", name)
	case topic == "" || topic[0] == '$':
		return "", core.Errorf(core.InvalidArgument, "name %q: topics that begin with $ are the server's own", name)
	case strings.Count(topic, "/") >= maxLevels:
		return "", core.Errorf(core.InvalidArgument, "name %q: at most %d levels are allowed", name, maxLevels)
	}
	return topic, nil
}

// text leaves out what MQTT's strings must not hold.
func text(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
}
