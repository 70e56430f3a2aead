package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"sync/atomic"
	"testing"
)

// client is one way of being a WAMP client: a library, a transport and a serialiser.
type client struct {
	library    string // "asyncio", "twisted", "node" or "nexus"
	transport  string // "websocket" or "rawsocket"
	serializer string // "json", "msgpack" or "cbor"

	bigNumbers bool // integers beyond 2^53 stay whole in the library
	keyOrder   bool // the keys of objects stay in order in the library
	bytes      bool // WAMP's binary convention, or the serialiser's own bytes
	hearsStop  bool // a callee hears that its call was cancelled
	discloses  bool // knows disclose_me and disclose_caller
}

func (c client) String() string { return c.library + "/" + c.transport + "/" + c.serializer }

// clients are all that the libraries offer, which is every combination but two:
// AutobahnJS speaks only JSON over RawSocket.
//
// Autobahn|Python follows WAMP's convention for bytes in JSON; AutobahnJS and nexus'
// client leave such strings as they are. JavaScript's numbers are doubles, so
// AutobahnJS carries integers beyond 2^53 only in CBOR, as BigInt. Go's maps have no
// order. AutobahnJS does not announce call_canceling as a callee. Autobahn|Python leaves
// it to the router who is disclosed to whom.
func clients() []client {
	var all []client
	for _, library := range []string{"asyncio", "twisted", "node", "nexus"} {
		for _, transport := range []string{"websocket", "rawsocket"} {
			for _, serializer := range []string{"json", "msgpack", "cbor"} {
				c := client{library: library, transport: transport, serializer: serializer,
					bigNumbers: true, keyOrder: true, bytes: true, hearsStop: true}
				switch library {
				case "node":
					c.bigNumbers = serializer == "cbor"
					c.bytes = serializer != "json"
					c.hearsStop = false
					c.discloses = true
				case "nexus":
					c.keyOrder = false
					c.bytes = serializer != "json"
					c.discloses = true
				}
				if library == "node" && transport == "rawsocket" && serializer != "json" {
					continue
				}
				all = append(all, c)
			}
		}
	}
	return all
}

// component is a running client. It offers, below its name:
//
//	NAME.echo       returns args and kwargs as they came
//	NAME.describe   returns how its library saw them, args and kwargs
//	NAME.refuse     raises com.example.error.refused with the args and kwargs
//	NAME.crash      fails without an error of its own
//	NAME.who        returns its procedure and its caller
//	NAME.family…    likewise, registered as a prefix
//	NAME.*.leaf     likewise, registered as a wildcard
//	NAME.hang       tells "hanging" and never returns; tells "cancelled" if it hears of it
//	NAME.count      counts to args[0] in progressive results
//
// and tells of every event of NAME.news (exact), NAME.wire… (prefix) and NAME.*.sport
// (wildcard).
type component struct {
	*lines
	client
	name    string
	session uint64
	send    func(order) error
	orders  atomic.Int64
}

// order is what a test asks of a client.
type order struct {
	ID      int             `json:"id"`
	Do      string          `json:"do"` // "call", "publish" or "cancel"
	URI     string          `json:"uri,omitempty"`
	Args    json.RawMessage `json:"args,omitempty"` // with tags, see python/values.py
	Kwargs  json.RawMessage `json:"kwargs,omitempty"`
	Options object          `json:"options,omitempty"` // WAMP's own
	Call    int             `json:"call,omitempty"`    // the order to cancel
}

// start starts the component and waits until it is ready.
func (c client) start(t testing.TB, b *bridge) *component {
	t.Helper()
	settings := c.settings(b)
	self := &component{client: c, name: settings["name"].(string)}
	if c.library == "nexus" {
		startNexus(t, self, settings)
	} else {
		program := map[string]string{"asyncio": "python/asyncio_component.py",
			"twisted": "python/twisted_component.py", "node": "node/component.js"}[c.library]
		p := startProgram(t, program, settings)
		self.lines, self.send = p.lines, p.send
	}
	self.session = self.awaitOn(t, "ready").Session
	return self
}

// settings are what the client programs take.
func (c client) settings(b *bridge) object {
	s := object{"transport": c.transport, "url": b.WS, "realm": "realm1", "serializer": c.serializer,
		"name": fmt.Sprintf("com.tests.%s.%s.%s", c.library, c.transport, c.serializer)}
	if c.transport == "rawsocket" {
		s["url"] = (&url.URL{Scheme: "rs", Host: b.Raw}).String()
	}
	return s
}

// with are the settings of c and some more.
func (c client) with(b *bridge, more object) object {
	s := c.settings(b)
	maps.Copy(s, more)
	return s
}

// do sends an order and returns its id.
func (c *component) do(t testing.TB, o order) int {
	t.Helper()
	o.ID = int(c.orders.Add(1))
	if err := c.send(o); err != nil {
		t.Fatal(err)
	}
	return o.ID
}

// answer waits for what came of an order.
func (c *component) answer(t testing.TB, id int) line {
	t.Helper()
	return c.await(t, fmt.Sprintf("what came of order %d", id), func(l line) bool {
		return l.ID == id && l.On != "progress"
	})
}

// call calls a procedure, which must return a result.
func (c *component) call(t testing.TB, procedure string, args, kwargs any) line {
	t.Helper()
	got := c.tryCall(t, procedure, args, kwargs, nil)
	if got.On != "result" {
		t.Fatalf("call of %s: %s", procedure, got.raw)
	}
	return got
}

// tryCall calls a procedure and returns what came of it.
func (c *component) tryCall(t testing.TB, procedure string, args, kwargs any, options object) line {
	t.Helper()
	return c.answer(t, c.do(t, order{Do: "call", URI: procedure, Args: raw(args), Kwargs: raw(kwargs), Options: options}))
}

// publish publishes an event and waits for the router's acknowledgement.
func (c *component) publish(t testing.TB, topic string, args, kwargs any, options object) line {
	t.Helper()
	got := c.answer(t, c.do(t, order{Do: "publish", URI: topic, Args: raw(args), Kwargs: raw(kwargs), Options: options}))
	if got.On != "published" {
		t.Fatalf("publish to %s: %s", topic, got.raw)
	}
	return got
}

// event waits for an event of the subscription "news", "wire" or "sport".
func (c *component) event(t testing.TB, subscription string) line {
	t.Helper()
	return c.await(t, "event of "+subscription, func(l line) bool {
		return l.On == "event" && l.Subscription == subscription
	})
}
