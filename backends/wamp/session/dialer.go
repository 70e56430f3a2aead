package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
)

// maxPayloadDepth is how deeply nested a payload may be that a router passes on to
// us. It is far beyond wire's default, which is for strangers.
const maxPayloadDepth = 10_000

// Dialer opens links to a router over the network. Its fields are read only.
type Dialer struct {
	// URL says where and how: ws and wss for WebSocket; rs (also tcp) and rss (also
	// tcps) for RawSocket without and with TLS; unix:///path for RawSocket over a
	// unix socket.
	URL *url.URL
	// TLS is the configuration for wss and rss; nil means the system's CAs.
	TLS *tls.Config
	// Proxy is an HTTP proxy for WebSockets; nil means none, whatever the
	// environment says.
	Proxy *url.URL
	// Serializations are offered in this order; none means DefaultSerializations.
	Serializations []wire.Serialization
	// MaxMessage is the longest message in bytes, either way; 0 means 16 MiB.
	MaxMessage int
}

// DefaultSerializations is the order in which serialisations are offered: JSON
// first, because anybridge's payloads are JSON and then cross unchanged, and
// because some routers (nexus 3.3) drop messages that hold a CBOR bignum.
func DefaultSerializations() []wire.Serialization {
	return []wire.Serialization{wire.JSON, wire.CBOR, wire.MsgPack}
}

// ParseURL reads a router's URL and refuses what a Dialer does not know.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, core.Errorf(core.InvalidArgument, "url: want ws://, wss://, rs://, rss:// or unix:// and an address")
	}
	switch u.Scheme {
	case "ws", "wss":
	case "rs", "rss", "tcp", "tcps":
		if u.Port() == "" {
			return nil, core.Errorf(core.InvalidArgument, "url: a port is missing after the host (RawSocket has no default port)")
		}
	case "unix":
		if u.Path == "" {
			return nil, core.Errorf(core.InvalidArgument, "url: want unix:///path/of/the/socket")
		}
		return u, nil
	default:
		return nil, core.Errorf(core.InvalidArgument, "url: scheme %q: want ws, wss, rs, rss or unix", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, core.Errorf(core.InvalidArgument, "url: a host is missing after %s://", u.Scheme)
	}
	return u, nil
}

// Connect dials and sends the HELLO.
func (d *Dialer) Connect(ctx context.Context, hello *wamp.Hello) (Link, error) {
	link, err := d.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", d.URL.Redacted(), err)
	}
	if err := link.Send(ctx, hello); err != nil {
		_ = link.Close()
		return nil, err
	}
	return link, nil
}

func (d *Dialer) dial(ctx context.Context) (Link, error) {
	switch d.URL.Scheme {
	case "ws", "wss":
		return d.dialWeb(ctx)
	case "unix":
		return d.dialRaw(ctx, "unix", d.URL.Path, false)
	default:
		return d.dialRaw(ctx, "tcp", d.URL.Host, d.URL.Scheme == "rss" || d.URL.Scheme == "tcps")
	}
}

func (d *Dialer) serializations() []wire.Serialization {
	if len(d.Serializations) > 0 {
		return d.Serializations
	}
	return DefaultSerializations()
}

func (d *Dialer) limits() wire.Limits {
	size := d.MaxMessage
	if size <= 0 {
		size = 16 << 20
	}
	return wire.Limits{MaxDepth: maxPayloadDepth, MaxSize: size}
}

// open makes the connection that everything else stands on.
func (d *Dialer) open(ctx context.Context, network, address string, secure bool) (*netConn, error) {
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 10 * time.Second, Count: 4}}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil || !secure {
		return &netConn{Conn: conn}, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if d.TLS != nil {
		config = d.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = d.URL.Hostname()
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &netConn{Conn: secured}, nil
}

func (d *Dialer) dialWeb(ctx context.Context) (Link, error) {
	var conn *netConn
	var protocols []string
	for _, s := range d.serializations() {
		protocols = append(protocols, s.Subprotocol())
	}
	dialer := websocket.Dialer{
		Subprotocols:    protocols,
		ReadBufferSize:  64 << 10,
		WriteBufferSize: 16 << 10,
		TLSClientConfig: d.TLS,
		NetDialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			conn, err = d.open(ctx, network, address, false)
			return conn, err
		},
	}
	if d.Proxy != nil {
		dialer.Proxy = http.ProxyURL(d.Proxy)
	} else {
		dialer.NetDialTLSContext = func(ctx context.Context, network, address string) (c net.Conn, err error) {
			conn, err = d.open(ctx, network, address, true)
			return conn, err
		}
	}
	target := *d.URL
	target.User = nil
	header := http.Header{}
	if d.URL.User != nil {
		password, _ := d.URL.User.Password()
		request := http.Request{Header: header}
		request.SetBasicAuth(d.URL.User.Username(), password)
	}
	ws, response, err := dialer.DialContext(ctx, target.String(), header)
	if response != nil && response.Body != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		if response != nil && errors.Is(err, websocket.ErrBadHandshake) {
			return nil, fmt.Errorf("open websocket: the server answered %s", response.Status)
		}
		return nil, fmt.Errorf("open websocket: %w", err)
	}
	s, ok := wire.ParseSubprotocol(ws.Subprotocol())
	if !ok {
		_ = ws.Close()
		return nil, fmt.Errorf("open websocket: the server chose none of %v", protocols)
	}
	return newWebLink(ws, conn, s, d.limits()), nil
}

func (d *Dialer) dialRaw(ctx context.Context, network, address string, secure bool) (Link, error) {
	var refused error
	for _, s := range d.serializations() {
		conn, err := d.open(ctx, network, address, secure)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		link, err := newRawLink(conn, s, d.limits())
		if !stop() && err == nil {
			_ = link.Close()
			return nil, ctx.Err()
		}
		if err == nil {
			return link, nil
		}
		_ = conn.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if _, other := errors.AsType[rawSerializerError](err); !other {
			return nil, err
		}
		refused = err
	}
	return nil, refused
}
