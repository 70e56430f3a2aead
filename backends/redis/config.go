package redis

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// Config is the backend's section of the configuration.
type Config struct {
	URL      string                   `json:"url"`
	Username string                   `json:"username"` // of an ACL user; takes precedence over the URL's
	Password string                   `json:"password"`
	Sentinel SentinelConfig           `json:"sentinel"`
	TLS      *kit.TLS                 `json:"tls"`
	Format   Format                   `json:"format"`
	Formats  map[string]Format        `json:"format_by_prefix"` // the longest prefix of the channel's name wins
	Binary   string                   `json:"binary"`
	Streams  map[string]*StreamConfig `json:"streams"`
	RPC      RPCConfig                `json:"rpc"`

	// MaxMessage is the longest message in bytes, both ways; 16 MiB by default.
	MaxMessage int `json:"max_message"`
	// MaxQueuedEvents and MaxQueuedBytes bound what waits for one subscription:
	// 1,000,000 events and 256 MiB. What comes on top is dropped and reported as a gap.
	MaxQueuedEvents int `json:"max_queued_events"`
	MaxQueuedBytes  int `json:"max_queued_bytes"`
	// PingInterval is how often connections are probed; one that is silent for three
	// intervals is given up. 5s by default.
	PingInterval time.Duration `json:"ping_interval"`

	place place
}

// SentinelConfig authenticates at the sentinels.
type SentinelConfig struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// Format says what a message on a channel looks like.
type Format string

// The formats; see docs/redis.md.
const (
	FormatEnvelope Format = "envelope" // the default
	FormatJSON     Format = "json"
	FormatText     Format = "text"
)

// StreamConfig makes a topic a Redis stream.
type StreamConfig struct {
	Key        string        `json:"key"`         // the topic's name by default
	Group      string        `json:"group"`       // "anybridge"
	Consumer   string        `json:"consumer"`    // the host's name
	MaxLen     int64         `json:"maxlen"`      // about how many entries are kept: 100,000; -1: all
	Start      string        `json:"start"`       // where a new group begins: "new" or "all"
	ClaimAfter time.Duration `json:"claim_after"` // entries a dead consumer held so long are taken over: 60s

	topic string
}

// DecodeConfig implements kit.Decoder: every stream has the same defaults.
func (s *StreamConfig) DecodeConfig(m *kit.Mistakes, place string, data json.RawMessage) {
	type plain StreamConfig // without DecodeConfig
	s.ClaimAfter = time.Minute
	m.Decode(place, data, (*plain)(s))
}

// RPCConfig is about procedures.
type RPCConfig struct {
	Prefix      string        `json:"prefix"`        // of all keys: "rpc:"
	Timeout     time.Duration `json:"timeout"`       // of calls without a deadline: 30s
	Grace       time.Duration `json:"grace"`         // how long a call waits for a server that has not announced itself: 2s
	MaxInFlight int           `json:"max_in_flight"` // invocations taken and not answered: 1024
	MaxQueued   int           `json:"max_queued"`    // requests waiting for one procedure: 10,000
}

// parseConfig reads and checks the configuration. The error is InvalidArgument and
// holds every mistake.
func parseConfig(raw json.RawMessage) (*Config, error) {
	cfg := &Config{
		Format: FormatEnvelope, Binary: "replace", PingInterval: 5 * time.Second,
		RPC: RPCConfig{Timeout: 30 * time.Second, Grace: 2 * time.Second},
	}
	var m kit.Mistakes
	m.Decode("", raw, cfg)
	cfg.complete(&m)
	return cfg, m.Err()
}

// complete fills in what else is a default, and notes every mistake.
func (c *Config) complete(m *kit.Mistakes) {
	var err error
	if c.place, err = parseURL(c.URL); err != nil {
		m.Add("url", "%w", err)
	}
	if c.Username != "" {
		c.place.username = c.Username
	}
	if c.Password != "" {
		c.place.password = core.Secret(c.Password)
	}
	if c.place.kind != sentinelPlace && c.Sentinel != (SentinelConfig{}) && err == nil {
		m.Add("sentinel", "only with a redis+sentinel URL")
	}
	switch {
	case c.TLS != nil && !c.place.tls && err == nil:
		m.Add("tls", "only with a URL that begins with rediss")
	case c.place.tls && c.TLS == nil:
		c.place.tlsConfig = kit.TLS{}.Load(m, "tls")
	case c.place.tls:
		c.place.tlsConfig = c.TLS.Load(m, "tls")
	}
	c.Format.check(m, "format")
	for _, prefix := range slices.Sorted(maps.Keys(c.Formats)) {
		c.Formats[prefix].check(m, "format_by_prefix."+prefix)
	}
	if c.Binary != "replace" && c.Binary != "base64" {
		m.Add("binary", "%q: want replace or base64", c.Binary)
	}
	setDefault(&c.RPC.Prefix, "rpc:")
	number(m, "max_message", &c.MaxMessage, 16<<20)
	number(m, "max_queued_events", &c.MaxQueuedEvents, 1_000_000)
	number(m, "max_queued_bytes", &c.MaxQueuedBytes, 256<<20)
	number(m, "rpc.max_in_flight", &c.RPC.MaxInFlight, 1024)
	number(m, "rpc.max_queued", &c.RPC.MaxQueued, 10_000)
	positive(m, "ping_interval", c.PingInterval)
	positive(m, "rpc.timeout", c.RPC.Timeout)
	positive(m, "rpc.grace", c.RPC.Grace)
	c.completeStreams(m)
}

func (f Format) check(m *kit.Mistakes, place string) {
	if f != FormatEnvelope && f != FormatJSON && f != FormatText {
		m.Add(place, "%q: want envelope, json or text", string(f))
	}
}

func (c *Config) completeStreams(m *kit.Mistakes) {
	keys := map[string]string{}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "anybridge"
	}
	for _, topic := range slices.Sorted(maps.Keys(c.Streams)) {
		place := "streams." + topic
		s := c.Streams[topic]
		if s == nil {
			s = &StreamConfig{ClaimAfter: time.Minute}
			c.Streams[topic] = s
		}
		s.topic = topic
		setDefault(&s.Key, topic)
		setDefault(&s.Group, "anybridge")
		setDefault(&s.Consumer, host)
		setDefault(&s.Start, "new")
		if err := (core.Address{Backend: "redis", Name: topic}).Valid(); err != nil {
			m.Add(place, "%w", err)
		}
		if other, ok := keys[s.Key]; ok {
			m.Add(place+".key", "streams.%s has the same key", other)
		}
		keys[s.Key] = topic
		if s.Start != "new" && s.Start != "all" {
			m.Add(place+".start", "%q: want new or all", s.Start)
		}
		switch {
		case s.MaxLen == 0:
			s.MaxLen = 100_000
		case s.MaxLen < -1:
			m.Add(place+".maxlen", "want a positive number, or -1 to keep everything")
		}
		positive(m, place+".claim_after", s.ClaimAfter)
	}
}

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

func number(m *kit.Mistakes, place string, n *int, value int) {
	if *n == 0 {
		*n = value
	}
	if *n < 0 {
		m.Add(place, "%d is negative", *n)
	}
}

func positive(m *kit.Mistakes, place string, d time.Duration) {
	if d == 0 {
		m.Add(place, `want a duration like "5s", longer than 0s`)
	}
}

// format is that of a channel.
func (c *Config) format(channel string) Format {
	format, longest := c.Format, -1
	for prefix, f := range c.Formats {
		if len(prefix) > longest && strings.HasPrefix(channel, prefix) {
			format, longest = f, len(prefix)
		}
	}
	return format
}

// sameButFormats reports whether the configurations differ in nothing beside what
// can be changed in place.
func (c *Config) sameButFormats(o *Config) bool {
	plain := func(c *Config) Config {
		p := *c
		p.Format, p.Formats, p.Binary, p.place.tlsConfig = "", nil, "", nil
		return p
	}
	return reflect.DeepEqual(plain(c), plain(o))
}
