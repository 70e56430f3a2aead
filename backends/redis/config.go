package redis

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Config is the backend's section of the configuration.
type Config struct {
	URL      string                   `json:"url"`
	Username string                   `json:"username"` // of an ACL user; takes precedence over the URL's
	Password string                   `json:"password"`
	Sentinel SentinelConfig           `json:"sentinel"`
	TLS      *TLSConfig               `json:"tls"`
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
	PingInterval string `json:"ping_interval"`

	place place
	ping  time.Duration
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
	Key        string `json:"key"`         // the topic's name by default
	Group      string `json:"group"`       // "anybridge"
	Consumer   string `json:"consumer"`    // the host's name
	MaxLen     int64  `json:"maxlen"`      // about how many entries are kept: 100,000; -1: all
	Start      string `json:"start"`       // where a new group begins: "new" or "all"
	ClaimAfter string `json:"claim_after"` // entries a dead consumer held so long are taken over: 60s

	topic      string
	claimAfter time.Duration
}

// RPCConfig is about procedures.
type RPCConfig struct {
	Prefix      string `json:"prefix"`        // of all keys: "rpc:"
	Timeout     string `json:"timeout"`       // of calls without a deadline: 30s
	Grace       string `json:"grace"`         // how long a call waits for a server that has not announced itself: 2s
	MaxInFlight int    `json:"max_in_flight"` // invocations taken and not answered: 1024
	MaxQueued   int    `json:"max_queued"`    // requests waiting for one procedure: 10,000

	timeout, grace time.Duration
}

// parseConfig reads and checks the configuration. The error is InvalidArgument and
// holds every mistake.
func parseConfig(raw json.RawMessage) (*Config, error) {
	cfg := &Config{}
	if err := decodeStrict(raw, cfg); err != nil {
		return nil, core.Errorf(core.InvalidArgument, "%w", err)
	}
	if err := errors.Join(cfg.complete()...); err != nil {
		return nil, core.Errorf(core.InvalidArgument, "%w", err)
	}
	return cfg, nil
}

// complete fills in defaults and returns every mistake.
func (c *Config) complete() (errs []error) {
	bad := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	c.place, err = parseURL(c.URL)
	bad(err)
	if c.Username != "" {
		c.place.username = c.Username
	}
	if c.Password != "" {
		c.place.password = core.Secret(c.Password)
	}
	if c.place.kind != sentinelPlace && c.Sentinel != (SentinelConfig{}) && err == nil {
		bad(errors.New("sentinel: only with a redis+sentinel URL"))
	}
	switch {
	case c.TLS != nil && !c.place.tls && err == nil:
		bad(errors.New("tls: only with a URL that begins with rediss"))
	case c.place.tls:
		c.place.tlsConfig, err = c.TLS.load()
		bad(err)
	}
	if c.Format == "" {
		c.Format = FormatEnvelope
	}
	bad(c.Format.check("format"))
	for _, prefix := range slices.Sorted(maps.Keys(c.Formats)) {
		bad(c.Formats[prefix].check("format_by_prefix." + prefix))
	}
	if c.Binary == "" {
		c.Binary = "replace"
	}
	if c.Binary != "replace" && c.Binary != "base64" {
		bad(fmt.Errorf("binary: %q: want replace or base64", c.Binary))
	}
	bad(number("max_message", &c.MaxMessage, 16<<20))
	bad(number("max_queued_events", &c.MaxQueuedEvents, 1_000_000))
	bad(number("max_queued_bytes", &c.MaxQueuedBytes, 256<<20))
	bad(duration("ping_interval", c.PingInterval, 5*time.Second, &c.ping))
	errs = append(errs, c.completeStreams()...)
	errs = append(errs, c.RPC.complete()...)
	return errs
}

func (f Format) check(path string) error {
	if f != FormatEnvelope && f != FormatJSON && f != FormatText {
		return fmt.Errorf("%s: %q: want envelope, json or text", path, string(f))
	}
	return nil
}

func (c *Config) completeStreams() (errs []error) {
	keys := map[string]string{}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "anybridge"
	}
	for _, topic := range slices.Sorted(maps.Keys(c.Streams)) {
		path := "streams." + topic
		s := c.Streams[topic]
		if s == nil {
			s = &StreamConfig{}
			c.Streams[topic] = s
		}
		s.topic = topic
		setDefault(&s.Key, topic)
		setDefault(&s.Group, "anybridge")
		setDefault(&s.Consumer, host)
		setDefault(&s.Start, "new")
		if err := (core.Address{Backend: "redis", Name: topic}).Valid(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
		if other, ok := keys[s.Key]; ok {
			errs = append(errs, fmt.Errorf("%s.key: streams.%s has the same key", path, other))
		}
		keys[s.Key] = topic
		if s.Start != "new" && s.Start != "all" {
			errs = append(errs, fmt.Errorf("%s.start: %q: want new or all", path, s.Start))
		}
		switch {
		case s.MaxLen == 0:
			s.MaxLen = 100_000
		case s.MaxLen < -1:
			errs = append(errs, fmt.Errorf("%s.maxlen: want a positive number, or -1 to keep everything", path))
		}
		if err := duration(path+".claim_after", s.ClaimAfter, time.Minute, &s.claimAfter); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func (r *RPCConfig) complete() (errs []error) {
	setDefault(&r.Prefix, "rpc:")
	for _, err := range []error{
		duration("rpc.timeout", r.Timeout, 30*time.Second, &r.timeout),
		duration("rpc.grace", r.Grace, 2*time.Second, &r.grace),
		number("rpc.max_in_flight", &r.MaxInFlight, 1024),
		number("rpc.max_queued", &r.MaxQueued, 10_000),
	} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

func number(path string, n *int, value int) error {
	if *n == 0 {
		*n = value
	}
	if *n < 0 {
		return fmt.Errorf("%s: %d is negative", path, *n)
	}
	return nil
}

func duration(path, text string, value time.Duration, d *time.Duration) error {
	*d = value
	if text == "" {
		return nil
	}
	var err error
	if *d, err = time.ParseDuration(text); err != nil || *d <= 0 {
		return fmt.Errorf("%s: want a duration such as 5s", path)
	}
	return nil
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
