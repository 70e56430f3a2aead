package irc

import (
	"encoding/json"
	"net"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/anybridge/anybridge/plugins/kit"
)

// Config is the backend's section of the configuration.
type Config struct {
	// Server is "host:port"; the port is 6697 by default, 6667 without TLS.
	Server string `json:"server"`
	// TLS is on by default: false, true, or how to check the certificate.
	TLS TLSConfig `json:"tls"`

	Nick     string `json:"nick"`
	User     string `json:"user"`     // the user name; "anybridge" by default
	Realname string `json:"realname"` // "anybridge" by default
	// Password is the server's (PASS).
	Password string          `json:"password"`
	SASL     *SASLConfig     `json:"sasl"`
	NickServ *NickServConfig `json:"nickserv"`

	// Channels are joined from the start and never left.
	Channels []ChannelConfig `json:"channels"`
	// JoinOnPublish joins a channel when somebody publishes to it; true by default.
	JoinOnPublish *bool `json:"join_on_publish"`
	// Rejoin is how long to wait after a kick; 5 s by default, 0 = stay out.
	Rejoin *time.Duration `json:"rejoin"`

	Flood    FloodConfig    `json:"flood"`
	Commands CommandsConfig `json:"commands"`

	// Confirm asks servers without echo-message after each line, with a PING, whether
	// they took it; true by default.
	Confirm *bool `json:"confirm"`
	// Formatting is what becomes of colours and the like in events: "strip" (the
	// default) or "keep".
	Formatting string `json:"formatting"`
	// Version answers CTCP VERSION; "anybridge" by default.
	Version     string `json:"version"`
	QuitMessage string `json:"quit_message"`

	PingInterval time.Duration `json:"ping_interval"` // how long the server may be silent; 60 s
	PingTimeout  time.Duration `json:"ping_timeout"`  // how long it may take to answer; 30 s
	// MaxQueuedEvents bounds what waits for one subscription: 100,000 events, and 64
	// MiB of text. What comes on top is dropped, counted and reported as a gap.
	MaxQueuedEvents int `json:"max_queued_events"`
}

// SASLConfig says how to log in to an account while connecting.
type SASLConfig struct {
	Mechanism string `json:"mechanism"` // "plain" (the default) or "external" (tls.cert)
	Account   string `json:"account"`
	Password  string `json:"password"`
}

// NickServConfig says how to log in where SASL is not to be had, and how to win the
// nick back.
type NickServConfig struct {
	Service  string `json:"service"` // "NickServ" by default; "NickServ@services.example" is safer
	Account  string `json:"account"` // left out of IDENTIFY when empty
	Password string `json:"password"`
	// Regain is the command that frees a nick which somebody else uses; "GHOST" by
	// default, "" to do without.
	Regain *string `json:"regain"`
}

// ChannelConfig is a channel's name, alone or with its key.
type ChannelConfig struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// DecodeConfig implements kit.Decoder.
func (c *ChannelConfig) DecodeConfig(m *kit.Mistakes, place string, data json.RawMessage) {
	if json.Unmarshal(data, &c.Name) == nil {
		return
	}
	type plain ChannelConfig // without DecodeConfig
	m.Decode(place, data, (*plain)(c))
}

// FloodConfig says how fast the server lets us send: Burst lines at once, then one
// per Interval (0 = as fast as they come). Queue lines may wait.
type FloodConfig struct {
	Burst    int            `json:"burst"`
	Interval *time.Duration `json:"interval"`
	Queue    int            `json:"queue"`
}

// CommandsConfig says how people call procedures.
type CommandsConfig struct {
	Prefix     string        `json:"prefix"`     // "!" by default
	Rate       Rate          `json:"rate"`       // of one user; 5 at once, then one per 2 s
	Timeout    time.Duration `json:"timeout"`    // 30 s by default
	Concurrent int           `json:"concurrent"` // calls under way at once; 16 by default
	MaxLines   int           `json:"max_lines"`  // of one answer; 5 by default
}

// Rate allows Burst at once, then one per Interval.
type Rate struct {
	Burst    int           `json:"burst"`
	Interval time.Duration `json:"interval"`
}

// parseConfig reads and checks the configuration. The error is InvalidArgument and
// holds every mistake.
func parseConfig(raw json.RawMessage) (*Config, error) {
	var m kit.Mistakes
	cfg := &Config{}
	m.Decode("", raw, cfg)
	cfg.complete()
	cfg.check(&m)
	return cfg, m.Err()
}

// complete fills in the defaults.
func (c *Config) complete() {
	text := func(v *string, fallback string) {
		if *v == "" {
			*v = fallback
		}
	}
	number := func(v *int, fallback int) {
		if *v == 0 {
			*v = fallback
		}
	}
	span := func(v *time.Duration, fallback time.Duration) {
		if *v == 0 {
			*v = fallback
		}
	}
	text(&c.User, "anybridge")
	text(&c.Realname, "anybridge")
	text(&c.Version, "anybridge")
	text(&c.Formatting, "strip")
	text(&c.Commands.Prefix, "!")
	if c.SASL != nil {
		text(&c.SASL.Mechanism, "plain")
	}
	if c.NickServ != nil {
		text(&c.NickServ.Service, "NickServ")
	}
	number(&c.Flood.Burst, 5)
	number(&c.Flood.Queue, 1000)
	number(&c.Commands.Rate.Burst, 5)
	number(&c.Commands.Concurrent, 16)
	number(&c.Commands.MaxLines, 5)
	number(&c.MaxQueuedEvents, 100_000)
	span(&c.Commands.Rate.Interval, 2*time.Second)
	span(&c.Commands.Timeout, 30*time.Second)
	span(&c.PingInterval, time.Minute)
	span(&c.PingTimeout, 30*time.Second)
	if host, port, err := net.SplitHostPort(c.Server); err != nil && c.Server != "" {
		c.Server = net.JoinHostPort(strings.Trim(c.Server, "[]"), c.TLS.port())
	} else if err == nil && port == "" {
		c.Server = net.JoinHostPort(host, c.TLS.port())
	}
}

func (c *Config) floodInterval() time.Duration { return orDefault(c.Flood.Interval, 2*time.Second) }
func (c *Config) rejoin() time.Duration        { return orDefault(c.Rejoin, 5*time.Second) }
func (c *Config) joinOnPublish() bool          { return c.JoinOnPublish == nil || *c.JoinOnPublish }
func (c *Config) confirm() bool                { return c.Confirm == nil || *c.Confirm }

func (n *NickServConfig) regain() string {
	if n.Regain == nil {
		return "GHOST"
	}
	return *n.Regain
}

func orDefault(d *time.Duration, fallback time.Duration) time.Duration {
	if d == nil {
		return fallback
	}
	return *d
}

// sameConnection reports whether both lead to the same connection, so that the rest
// can be changed in place.
func (c *Config) sameConnection(o *Config) bool {
	a, b := *c, *o
	for _, x := range []*Config{&a, &b} {
		x.Channels, x.JoinOnPublish, x.Rejoin, x.Flood, x.Commands = nil, nil, nil, FloodConfig{}, CommandsConfig{}
		x.Nick, x.Formatting, x.Version, x.QuitMessage, x.Confirm = "", "", "", "", nil
		x.PingInterval, x.PingTimeout, x.TLS.config = 0, 0, nil
	}
	return reflect.DeepEqual(a, b)
}

// channel is the configured channel of this name, compared by fold.
func (c *Config) channel(fold casemapping, name string) (ChannelConfig, bool) {
	i := slices.IndexFunc(c.Channels, func(ch ChannelConfig) bool { return fold.fold(ch.Name) == fold.fold(name) })
	if i < 0 {
		return ChannelConfig{}, false
	}
	return c.Channels[i], true
}
