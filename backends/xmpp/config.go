package xmpp

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
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
	RoomPing time.Duration `json:"room_ping"`

	// Callers are who may execute our commands: JIDs, domains, or "*" for everybody. By
	// default the accounts of our own domain.
	Callers []string `json:"callers"`

	// Keepalive is after how long a silent connection is asked; 30s by default. After
	// twice as long it is given up.
	Keepalive time.Duration `json:"keepalive"`
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

// DecodeConfig implements kit.Decoder: the mode alone, or a map.
func (t *TLSConfig) DecodeConfig(m *kit.Mistakes, place string, data json.RawMessage) {
	if json.Unmarshal(data, &t.Mode) == nil {
		return
	}
	type plain TLSConfig // without DecodeConfig
	m.Decode(place, data, (*plain)(t))
}

// RoomConfig is a room that is joined from the start.
type RoomConfig struct {
	Room     string      `json:"room"`
	Nick     string      `json:"nick"`
	Password core.Secret `json:"password"`
}

// DecodeConfig implements kit.Decoder: the room alone, or a map.
func (c *RoomConfig) DecodeConfig(m *kit.Mistakes, place string, data json.RawMessage) {
	if json.Unmarshal(data, &c.Room) == nil {
		return
	}
	type plain RoomConfig // without DecodeConfig
	m.Decode(place, data, (*plain)(c))
}

// parseConfig reads and checks the configuration. The error is InvalidArgument and holds
// every mistake.
func parseConfig(raw json.RawMessage) (*Config, error) {
	var m kit.Mistakes
	cfg := &Config{Keepalive: 30 * time.Second, RoomPing: 150 * time.Second}
	m.Decode("", raw, cfg)
	cfg.complete(&m)
	return cfg, m.Err()
}

// CheckConfig finds every mistake in a section of the configuration without opening
// anything. Each line of the error begins with the path of the key that is wrong.
func CheckConfig(section json.RawMessage) error {
	_, err := parseConfig(section)
	return err
}

// complete fills in the other defaults, and notes every mistake.
func (c *Config) complete(m *kit.Mistakes) {
	var err error
	switch c.jid, err = jid.Parse(c.JID); {
	case c.JID == "":
		m.Add("jid", "the account is missing, for example bridge@example.org/anybridge")
	case err != nil:
		m.Add("jid", "%.100q is not a JID", c.JID)
	case c.jid.Localpart() == "":
		m.Add("jid", "%.100q has no account before the @", c.JID)
	}
	if len(c.Password) == 0 {
		m.Add("password", "is missing")
	}
	if c.Server != "" {
		if host, port, err := net.SplitHostPort(c.Server); err != nil || host == "" || !validPort(port) {
			m.Add("server", "%.100q: want host:port", c.Server)
		}
	}
	c.completeTLS(m)
	if c.Nick == "" {
		c.Nick = c.jid.Localpart()
	} else if checkNick(c.Nick) != nil {
		m.Add("nick", "%.100q cannot be a name in a room", c.Nick)
	}
	c.completeRooms(m)
	if c.Callers == nil && c.jid.Domainpart() != "" {
		c.Callers = []string{c.jid.Domainpart()}
	}
	for i, s := range c.Callers {
		if s == everybody {
			continue
		}
		j, err := jid.Parse(s)
		if err != nil {
			m.Add(fmt.Sprintf("callers[%d]", i), "%.100q: want a JID, a domain or *", s)
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
			m.Add(n.key, "%d: at least %d", *n.value, n.lowest)
		}
	}
	for key, d := range map[string]time.Duration{"keepalive": c.Keepalive, "room_ping": c.RoomPing} {
		if d < time.Second {
			m.Add(key, "at least 1s")
		}
	}
}

const everybody = "*"

func (c *Config) completeTLS(m *kit.Mistakes) {
	if c.TLS.Mode == "" {
		c.TLS.Mode = string(stream.StartTLS)
	}
	switch stream.TLSMode(c.TLS.Mode) {
	case stream.StartTLS, stream.DirectTLS:
	case stream.NoTLS:
		host, _, _ := net.SplitHostPort(c.Server)
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			m.Add("tls", "none is only for a server on a loopback address, which server names")
		}
	default:
		m.Add("tls", "mode %.40q: want starttls, direct or none", c.TLS.Mode)
	}
	c.tls = kit.TLS{CA: c.TLS.CA, ServerName: c.TLS.ServerName}.Load(m, "tls")
}

func (c *Config) completeRooms(m *kit.Mistakes) {
	c.rooms = map[string]RoomConfig{}
	for i, room := range c.Rooms {
		place := fmt.Sprintf("rooms[%d]", i)
		j, err := jid.Parse(room.Room)
		if room.Room == "" {
			m.Add(place+".room", "is missing")
			continue
		}
		if err != nil || j.Localpart() == "" || j.Resourcepart() != "" {
			m.Add(place, "%.100q: want a room's JID, room@service", room.Room)
			continue
		}
		if _, twice := c.rooms[j.String()]; twice {
			m.Add(place, "%s stands here twice", j)
		}
		if room.Nick != "" && checkNick(room.Nick) != nil {
			m.Add(place+".nick", "%.100q cannot be a name in a room", room.Nick)
		}
		c.rooms[j.String()] = room
	}
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
