package router

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/anybridge/anybridge/plugins/kit"
)

// Config is everything the router needs to know. The zero value of every field but
// Listen and Realms means a default.
type Config struct {
	// Listen is the address of the port, e.g. "127.0.0.1:8080"; port 0 takes a free
	// one. It serves WebSocket and RawSocket alike.
	Listen string `json:"listen"`
	// Path is where WebSocket clients connect; "/ws" by default.
	Path string `json:"path,omitempty"`
	// TLS makes both transports encrypted. Nil means plain TCP.
	TLS *TLS `json:"tls,omitempty"`
	// Origins are the web origins whose pages may connect, as "https://app.example",
	// "app.example", "*.example" or "*" for all. Pages from the router's own host
	// and from localhost always may. Programs, which send no Origin, always may.
	Origins []string `json:"origins,omitempty"`
	// Realms are the realms that clients can join; at least one.
	Realms []Realm `json:"realms"`
	// Anonymous allows sessions without authentication. Nil allows them, with every
	// right except on names that begin with "wamp.", only while Listen is a loopback
	// address, and only to peers on the same machine.
	Anonymous *Anonymous `json:"anonymous,omitempty"`
	// Disclose tells callees and subscribers always who called or published, and not
	// only when the caller, the callee or the publisher asks for it.
	Disclose bool `json:"disclose,omitempty"`
	// Principals say who may authenticate, by authid.
	Principals map[string]Principal `json:"principals,omitempty"`
	// Tokens are the bridge's tokens, usable as tickets.
	Tokens []Token `json:"tokens,omitempty"`
	Limits Limits  `json:"limits,omitzero"`
}

// Realm is the name of a realm: a URI (WAMP specification, "URIs").
type Realm string

// TLS names the files of a certificate and its key in PEM.
type TLS struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// Anonymous says what sessions without authentication may do: scopes, see
// core.ParseGrants.
type Anonymous struct {
	Allow []string `json:"allow"`
}

// Principal is somebody who may join: how they prove it, and what they may do then.
// At least one of Ticket, Secret and PublicKeys must be set.
type Principal struct {
	// Ticket is the shared secret of the ticket method.
	Ticket string `json:"ticket,omitempty"`
	// Secret is the shared secret of WAMP-CRA. With a Salt the signing key is derived
	// from it by PBKDF2 (1,000 iterations and 32 bytes by default).
	Secret     string `json:"secret,omitempty"`
	Salt       string `json:"salt,omitempty"`
	Iterations int    `json:"iterations,omitempty"`
	KeyLen     int    `json:"key_len,omitempty"`
	// PublicKeys are Ed25519 keys in hex for WAMP-Cryptosign.
	PublicKeys []string `json:"public_keys,omitempty"`
	// Role is the authrole; "user" by default.
	Role string `json:"role,omitempty"`
	// Allow are the scopes. None means that nothing is allowed.
	Allow []string `json:"allow,omitempty"`
	// Realms restricts where the principal may join; empty means anywhere.
	Realms []Realm `json:"realms,omitempty"`
}

// Token is a token of the bridge: its Name is the authid and the token itself the
// ticket. Hash is the token's SHA-256 in hex, with or without "sha256:" in front,
// or its 32 bytes.
type Token struct {
	Name string `json:"name"`
	Hash string `json:"hash"`
	// Previous is the hash of the secret that this one replaces; while it is here
	// both count.
	Previous string   `json:"previous,omitempty"`
	Allow    []string `json:"allow,omitempty"`
}

// Limits bound what one peer can cost. Changed limits apply to sessions that join
// afterwards.
type Limits struct {
	// MaxMessage is the longest message accepted, in bytes: 2 MiB by default, so
	// that whatever the REST API takes (1 MiB of JSON) fits in any serialisation;
	// at most 16 MiB, which is what RawSocket can carry.
	MaxMessage int `json:"max_message,omitempty"`
	// QueueMessages and QueueBytes bound what waits for a session that reads too
	// slowly: 16,384 messages and 32 MiB by default. Beyond, it is disconnected. A
	// message counts its payload and 128 bytes.
	QueueMessages int `json:"queue_messages,omitempty"`
	QueueBytes    int `json:"queue_bytes,omitempty"`
	// WriteTimeout is how long one write may take; 10 s by default.
	WriteTimeout Duration `json:"write_timeout,omitempty"`
	// PingInterval is how often an idle WebSocket is pinged; 30 s by default. A
	// session that has been silent for two intervals is disconnected. RawSocket
	// connections have TCP keep-alive instead, since common clients do not know its
	// PING.
	PingInterval Duration `json:"ping_interval,omitempty"`
	// HandshakeTimeout bounds each step up to WELCOME; 5 s by default.
	HandshakeTimeout Duration `json:"handshake_timeout,omitempty"`
	// MaxSessions is the most connections at a time; 10,000 by default.
	MaxSessions int `json:"max_sessions,omitempty"`
	// RetainedEvents and RetainedBytes bound the retained events of each realm:
	// 10,000 (at most half of QueueMessages) and 64 MiB by default. The oldest ones go
	// first.
	RetainedEvents int `json:"retained_events,omitempty"`
	RetainedBytes  int `json:"retained_bytes,omitempty"`
	// CallsInFlight is how many calls a session may have waiting; 4,096 by default.
	CallsInFlight int `json:"calls_in_flight,omitempty"`
	// MaxHeld is how many subscriptions and registrations a session may have, each;
	// 10,000 by default.
	MaxHeld int `json:"max_held,omitempty"`
}

// Duration is a time.Duration that reads and writes as "15s" in JSON.
type Duration time.Duration

// MarshalJSON writes the duration as a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads a string such as "1m30s".
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("duration %s: want a string such as \"15s\"", b)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("duration %q: want a string such as \"15s\"", s)
	}
	*d = Duration(v)
	return nil
}

const (
	maxMessage      = 16 << 20
	messageOverhead = 128 // what a queued message counts beside its payload
)

// withDefaults fills in what is zero.
func (l Limits) withDefaults() Limits {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	dur := func(p *Duration, v time.Duration) {
		if *p == 0 {
			*p = Duration(v)
		}
	}
	def(&l.MaxMessage, 2<<20)
	def(&l.QueueMessages, 16384)
	def(&l.QueueBytes, max(32<<20, 2*l.MaxMessage))
	def(&l.MaxSessions, 10000)
	def(&l.RetainedEvents, min(10000, l.QueueMessages/2))
	def(&l.RetainedBytes, 64<<20)
	def(&l.CallsInFlight, 4096)
	def(&l.MaxHeld, 10000)
	dur(&l.WriteTimeout, 10*time.Second)
	dur(&l.PingInterval, 30*time.Second)
	dur(&l.HandshakeTimeout, 5*time.Second)
	return l
}

// check returns every mistake in limits that already have their defaults.
func (l Limits) check() (errs []error) {
	for _, f := range []struct {
		key string
		v   int
		min int
	}{
		{"max_message", l.MaxMessage, 1024},
		{"queue_messages", l.QueueMessages, 16},
		{"queue_bytes", l.QueueBytes, l.MaxMessage + messageOverhead},
		{"max_sessions", l.MaxSessions, 1},
		{"retained_events", l.RetainedEvents, 1},
		{"retained_bytes", l.RetainedBytes, 1},
		{"calls_in_flight", l.CallsInFlight, 1},
		{"max_held", l.MaxHeld, 1},
		{"write_timeout", int(l.WriteTimeout), int(time.Millisecond)},
		{"ping_interval", int(l.PingInterval), int(time.Millisecond)},
		{"handshake_timeout", int(l.HandshakeTimeout), int(time.Millisecond)},
	} {
		if f.v < f.min {
			errs = append(errs, fmt.Errorf("limits.%s: %d is too small, want at least %d", f.key, f.v, f.min))
		}
	}
	if l.RetainedEvents > l.QueueMessages {
		errs = append(errs, fmt.Errorf("limits.retained_events: %d do not fit into queue_messages, %d, of a subscriber that gets all of them", l.RetainedEvents, l.QueueMessages))
	}
	if l.MaxMessage > maxMessage {
		errs = append(errs, fmt.Errorf("limits.max_message: %d is too big, want at most %d", l.MaxMessage, maxMessage))
	}
	return errs
}

// DecodeConfig implements kit.Decoder, so that a mistake is told like any other.
func (d *Duration) DecodeConfig(m *kit.Mistakes, place string, data json.RawMessage) {
	m.Decode(place, data, (*time.Duration)(d))
}
