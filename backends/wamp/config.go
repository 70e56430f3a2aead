package wamp

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"reflect"

	"github.com/anybridge/anybridge/backends/wamp/router"
	"github.com/anybridge/anybridge/backends/wamp/session"
	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// Config is the backend's section of the configuration. Either Router or URL is
// set.
type Config struct {
	// Router runs a router in this process.
	Router *router.Config `json:"router"`
	// URL is where somebody else's router is; see session.Dialer.
	URL string `json:"url"`
	// Realm is where the bridge's own sessions join; with Router, its first realm by
	// default.
	Realm string `json:"realm"`
	// Auth, TLS, Serializer, Proxy and MaxMessage are for URL only.
	Auth AuthConfig `json:"auth"`
	TLS  *kit.TLS   `json:"tls"`
	// Serializer is "json", "msgpack" or "cbor"; by default all are offered, JSON
	// first.
	Serializer string `json:"serializer"`
	// Proxy is the URL of an HTTP proxy for WebSockets. The environment's proxies are
	// not used.
	Proxy string `json:"proxy"`
	// MaxMessage is the longest message in bytes; 16 MiB by default.
	MaxMessage int `json:"max_message"`

	// CalleeSessions is over how many sessions registrations are spread, beside the
	// one that calls and subscribes: 1 with Router, 4 with URL. On most
	// routers a caller that does not read its results holds up the session of its
	// callee.
	CalleeSessions int `json:"callee_sessions"`
	// MaxQueuedEvents and MaxQueuedBytes bound what waits for one subscription:
	// 1,000,000 events and 256 MiB. What comes on top is dropped and counted.
	MaxQueuedEvents int `json:"max_queued_events"`
	MaxQueuedBytes  int `json:"max_queued_bytes"`

	// Tokens are the bridge's tokens, which the host adds; sessions on the router
	// inside may use them as tickets. They take precedence over router.tokens.
	Tokens []router.Token `json:"tokens"`

	target session.Target // for URL
}

// AuthConfig says how to authenticate on somebody else's router.
type AuthConfig struct {
	Method     string `json:"method"` // "anonymous", "ticket", "wampcra" or "cryptosign"
	AuthID     string `json:"authid"`
	Role       string `json:"role"`
	Ticket     string `json:"ticket"`
	Secret     string `json:"secret"`
	PrivateKey string `json:"private_key"` // an Ed25519 seed, 32 bytes in hexadecimal
}

// parseConfig reads and checks the configuration. The error is InvalidArgument and
// holds every mistake.
func parseConfig(raw json.RawMessage) (*Config, error) {
	var m kit.Mistakes
	cfg := &Config{}
	m.Decode("", raw, cfg)
	cfg.complete(&m)
	return cfg, m.Err()
}

// complete fills in defaults and notes every mistake.
func (c *Config) complete(m *kit.Mistakes) {
	switch {
	case c.Router != nil && c.URL != "":
		m.Add("", "router and url exclude each other: either run a router, or join somebody else's")
	case c.Router != nil:
		c.completeInside(m)
	case c.URL != "":
		c.completeOutside(m)
	default:
		m.Add("", "router or url is missing: say which router to run, or whose to join")
	}
	for key, n := range map[string]int{
		"callee_sessions": c.CalleeSessions, "max_message": c.MaxMessage,
		"max_queued_events": c.MaxQueuedEvents, "max_queued_bytes": c.MaxQueuedBytes,
	} {
		if n < 0 {
			m.Add(key, "%d is negative", n)
		}
	}
	const mostSessions = 64
	if c.CalleeSessions > mostSessions {
		m.Add("callee_sessions", "at most %d", mostSessions)
	}
}

func (c *Config) completeInside(m *kit.Mistakes) {
	for key, set := range map[string]bool{
		"auth": c.Auth != AuthConfig{}, "tls": c.TLS != nil, "serializer": c.Serializer != "",
		"proxy": c.Proxy != "", "max_message": c.MaxMessage != 0,
	} {
		if set {
			m.Add(key, "only with url (the router's own settings stand under router)")
		}
	}
	if c.Tokens != nil {
		c.Router.Tokens = c.Tokens
	}
	if c.CalleeSessions == 0 {
		c.CalleeSessions = 1
	}
	if c.Realm == "" && len(c.Router.Realms) > 0 {
		c.Realm = string(c.Router.Realms[0])
	}
	for _, r := range c.Router.Realms {
		if string(r) == c.Realm {
			return
		}
	}
	if len(c.Router.Realms) > 0 { // without any, the router complains
		m.Add("realm", "%q is not among router.realms", c.Realm)
	}
}

func (c *Config) completeOutside(m *kit.Mistakes) {
	if c.CalleeSessions == 0 {
		c.CalleeSessions = 4
	}
	if c.Realm == "" {
		m.Add("realm", "which realm to join is missing")
	}
	dialer := &session.Dialer{MaxMessage: c.MaxMessage}
	var err error
	if dialer.URL, err = session.ParseURL(c.URL); err != nil {
		m.Add("", "%w", err)
	}
	if c.Proxy != "" {
		if dialer.Proxy, err = url.Parse(c.Proxy); err != nil || dialer.Proxy.Host == "" {
			m.Add("proxy", "want http://host:port")
		}
	}
	if c.Serializer != "" {
		s, ok := wire.ParseSubprotocol("wamp.2." + c.Serializer)
		if !ok {
			m.Add("serializer", "%q: want json, msgpack or cbor", c.Serializer)
		}
		dialer.Serializations = []wire.Serialization{s}
	}
	if c.TLS != nil {
		dialer.TLS = c.TLS.Load(m, "tls")
	}
	auth, err := c.Auth.read()
	if err != nil {
		m.Add("", "%w", err)
	}
	c.target = session.Target{Connect: dialer.Connect, Realm: c.Realm, Auth: auth}
}

func (a AuthConfig) read() (session.Auth, error) {
	auth := session.Auth{
		Method: a.Method, AuthID: a.AuthID, Role: a.Role,
		Ticket: core.Secret(a.Ticket), Secret: core.Secret(a.Secret),
	}
	if a.Method == session.Cryptosign {
		key, err := hex.DecodeString(a.PrivateKey)
		if err != nil { // which would show a character of the key
			return auth, errors.New("auth.private_key: want an Ed25519 seed, 64 hexadecimal digits")
		}
		auth.Key = key
	}
	return auth, auth.Check()
}

// sameSizes reports whether nothing differs that is fixed when a session is made.
func (c *Config) sameSizes(o *Config) bool {
	return c.CalleeSessions == o.CalleeSessions && c.MaxQueuedEvents == o.MaxQueuedEvents && c.MaxQueuedBytes == o.MaxQueuedBytes
}

// sameTarget reports whether both lead to the same place in the same way. Files
// that have changed beneath their names are not noticed.
func (c *Config) sameTarget(o *Config) bool {
	return c.URL == o.URL && c.Realm == o.Realm && c.Auth == o.Auth && c.Serializer == o.Serializer &&
		c.Proxy == o.Proxy && c.MaxMessage == o.MaxMessage && reflect.DeepEqual(c.TLS, o.TLS)
}
