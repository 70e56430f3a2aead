package xmpp

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/core"
)

// Config is the backend's section of the configuration.
type Config struct {
	// JID is the account, with the resource that the session asks for; commands are
	// offered at that full address. Without one the server makes one up each time.
	JID string `json:"jid"`
	// Password is the account's.
	Password core.Secret `json:"password"`
	// Server is host:port, in place of what DNS says of the account's domain.
	Server string `json:"server"`
	// TLS is a mode ("starttls", "direct", "none"), or a map with more.
	TLS TLSConfig `json:"tls"`

	// Rooms are joined from the start, and kept joined.
	Rooms []RoomConfig `json:"rooms"`
	// Nick is our name in rooms; the account's name by default.
	Nick string `json:"nick"`
	// CreateRooms and CreateNodes let what does not exist be created, with the service's
	// defaults; both are true by default.
	CreateRooms *bool `json:"create_rooms"`
	CreateNodes *bool `json:"create_nodes"`
	// RoomPing is how often a room is asked whether we are still in it (XEP-0410); 150s
	// by default.
	RoomPing Duration `json:"room_ping"`

	// Callers are who may execute our commands: JIDs, domains, or "*" for everybody. By
	// default the accounts of our own domain.
	Callers []string `json:"callers"`

	// Keepalive is after how long a silent connection is asked; 30s by default. After
	// twice as long it is given up.
	Keepalive Duration `json:"keepalive"`
	// MaxStanza is the longest stanza in bytes that is sent; 262,144 by default, which is
	// what servers commonly take. MaxReceive is the longest that is taken; 1 MiB by
	// default.
	MaxStanza  int `json:"max_stanza"`
	MaxReceive int `json:"max_receive"`
	// MaxSendQueue bounds the stanzas that wait to be sent or acknowledged; 1,000 by
	// default.
	MaxSendQueue int `json:"max_send_queue"`
	// MaxQueuedEvents and MaxQueuedBytes bound what waits for one subscription: 100,000
	// events and 64 MiB. What comes on top is dropped, counted and reported as a gap.
	MaxQueuedEvents int `json:"max_queued_events"`
	MaxQueuedBytes  int `json:"max_queued_bytes"`
	// MaxInvocations bounds the calls that wait for our answer; 1,000 by default.
	MaxInvocations int `json:"max_invocations"`

	jid   jid.JID
	tls   *tls.Config
	rooms map[string]RoomConfig // by bare JID
}

// TLSConfig says how the connection is secured.
type TLSConfig struct {
	Mode       string `json:"mode"`
	CA         string `json:"ca"` // a file of PEM certificates, in place of the system's
	ServerName string `json:"server_name"`
}

// RoomConfig is a room that is joined from the start.
type RoomConfig struct {
	Room     string      `json:"room"`
	Nick     string      `json:"nick"`
	Password core.Secret `json:"password"`
}

// Duration is written as text: "1m30s".
type Duration time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return errors.New(`want a duration such as "30s"`)
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%.40q: want a duration such as \"30s\"", text)
	}
	*d = Duration(v)
	return nil
}

// parseConfig reads and checks the configuration. The error is InvalidArgument and holds
// every mistake.
func parseConfig(raw json.RawMessage) (*Config, error) {
	cfg, errs := decode(raw)
	if len(errs) == 0 {
		errs = cfg.complete()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, core.Errorf(core.InvalidArgument, "%w", err)
	}
	return cfg, nil
}

// CheckConfig finds every mistake in a section of the configuration without opening
// anything. Each line of the error begins with the path of the key that is wrong.
func CheckConfig(section json.RawMessage) error {
	_, err := parseConfig(section)
	return err
}

// complete fills in defaults and returns every mistake.
func (c *Config) complete() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	var err error
	switch c.jid, err = jid.Parse(c.JID); {
	case c.JID == "":
		bad("jid: the account is missing, for example bridge@example.org/anybridge")
	case err != nil:
		bad("jid: %.100q is not a JID", c.JID)
	case c.jid.Localpart() == "":
		bad("jid: %.100q has no account before the @", c.JID)
	}
	if len(c.Password) == 0 {
		bad("password: is missing")
	}
	if c.Server != "" {
		if host, port, err := net.SplitHostPort(c.Server); err != nil || host == "" || !validPort(port) {
			bad("server: %.100q: want host:port", c.Server)
		}
	}
	errs = append(errs, c.completeTLS()...)
	if c.Nick == "" {
		c.Nick = c.jid.Localpart()
	} else if checkNick(c.Nick) != nil {
		bad("nick: %.100q cannot be a name in a room", c.Nick)
	}
	errs = append(errs, c.completeRooms()...)
	if c.Callers == nil && c.jid.Domainpart() != "" {
		c.Callers = []string{c.jid.Domainpart()}
	}
	for i, s := range c.Callers {
		if s == everybody {
			continue
		}
		j, err := jid.Parse(s)
		if err != nil {
			bad("callers[%d]: %.100q: want a JID, a domain or *", i, s)
			continue
		}
		c.Callers[i] = j.String()
	}
	for _, n := range []struct {
		key           string
		value         *int
		usual, lowest int
	}{
		{"max_stanza", &c.MaxStanza, 256 << 10, 10_000},
		{"max_receive", &c.MaxReceive, 1 << 20, 10_000},
		{"max_send_queue", &c.MaxSendQueue, 1000, 1},
		{"max_queued_events", &c.MaxQueuedEvents, 100_000, 1},
		{"max_queued_bytes", &c.MaxQueuedBytes, 64 << 20, 1},
		{"max_invocations", &c.MaxInvocations, 1000, 1},
	} {
		if *n.value == 0 {
			*n.value = n.usual
		}
		if *n.value < n.lowest {
			bad("%s: %d: at least %d", n.key, *n.value, n.lowest)
		}
	}
	for _, d := range []struct {
		key   string
		value *Duration
		usual time.Duration
	}{{"keepalive", &c.Keepalive, 30 * time.Second}, {"room_ping", &c.RoomPing, 150 * time.Second}} {
		if *d.value == 0 {
			*d.value = Duration(d.usual)
		}
		if time.Duration(*d.value) < time.Second {
			bad("%s: at least 1s", d.key)
		}
	}
	return errs
}

const everybody = "*"

func (c *Config) completeTLS() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.TLS.Mode == "" {
		c.TLS.Mode = string(stream.StartTLS)
	}
	switch stream.TLSMode(c.TLS.Mode) {
	case stream.StartTLS, stream.DirectTLS:
	case stream.NoTLS:
		host, _, _ := net.SplitHostPort(c.Server)
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			bad("tls: none is only for a server on a loopback address, which server names")
		}
	default:
		bad("tls: mode %.40q: want starttls, direct or none", c.TLS.Mode)
	}
	c.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	if c.TLS.CA != "" {
		pem, err := os.ReadFile(c.TLS.CA)
		if err != nil {
			bad("tls.ca: %w", err)
			return errs
		}
		c.tls.RootCAs = x509.NewCertPool()
		if !c.tls.RootCAs.AppendCertsFromPEM(pem) {
			bad("tls.ca: %s holds no PEM certificate", c.TLS.CA)
		}
	}
	return errs
}

func (c *Config) completeRooms() (errs []error) {
	c.rooms = map[string]RoomConfig{}
	for i, room := range c.Rooms {
		j, err := jid.Parse(room.Room)
		if err != nil || j.Localpart() == "" || j.Resourcepart() != "" {
			errs = append(errs, fmt.Errorf("rooms[%d]: %.100q: want a room's JID, room@service", i, room.Room))
			continue
		}
		if _, twice := c.rooms[j.String()]; twice {
			errs = append(errs, fmt.Errorf("rooms[%d]: %s stands here twice", i, j))
		}
		if room.Nick != "" {
			if checkNick(room.Nick) != nil {
				errs = append(errs, fmt.Errorf("rooms[%d].nick: %.100q cannot be a name in a room", i, room.Nick))
			}
		}
		c.rooms[j.String()] = room
	}
	return errs
}

// checkNick checks a name for rooms: it is the resource of an address there.
func checkNick(nick string) error {
	j, err := jid.New("room", "example.org", nick)
	if err == nil && strings.TrimSpace(j.Resourcepart()) == "" {
		err = errors.New("empty")
	}
	return err
}

func validPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 0 && n < 1<<16
}

func orTrue(b *bool) bool { return b == nil || *b }

// sameSession reports whether both lead to the same session with the same bounds: what
// else differs is applied in place.
func (c *Config) sameSession(o *Config) bool {
	return c.jid.Equal(o.jid) && string(c.Password) == string(o.Password) && c.Server == o.Server &&
		reflect.DeepEqual(c.TLS, o.TLS) && c.Keepalive == o.Keepalive && c.MaxStanza == o.MaxStanza &&
		c.MaxReceive == o.MaxReceive && c.MaxSendQueue == o.MaxSendQueue &&
		c.MaxQueuedEvents == o.MaxQueuedEvents && c.MaxQueuedBytes == o.MaxQueuedBytes
}
