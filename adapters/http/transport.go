package rest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// idleConnection is how long a connection is kept for the next callback: shorter
// than common servers keep theirs (2 s at least), because a request that meets the
// server's closing is lost and an invocation must not be sent again.
const idleConnection = 1500 * time.Millisecond

const (
	dialTimeout    = 10 * time.Second
	maxReplyHeader = 64 << 10
)

// newTransport makes a transport that dials under one policy, so that no
// connection outlives the policy it was made under.
func (c *Callbacks) newTransport(p *policy, ca *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Resolver: c.o.Resolver}
	t := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca, ClientSessionCache: tls.NewLRUClientSessionCache(0)},
		TLSHandshakeTimeout: dialTimeout,
		// A connection that is being made goes on without the callback that asked for
		// it, so it is the transport that has to count them.
		MaxConnsPerHost:        c.o.MaxPerHost,
		MaxIdleConnsPerHost:    c.o.MaxPerHost,
		IdleConnTimeout:        idleConnection,
		MaxResponseHeaderBytes: maxReplyHeader,
		DisableCompression:     true, // see readReply
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	if p.proxy == nil {
		dialer.Control = p.control
		return t
	}
	t.Proxy = http.ProxyURL(p.proxy)
	t.MaxConnsPerHost = c.o.MaxInFlight // the proxy counts as one host, whoever is behind it
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, errors.Join(errProxy, err)
		}
		return &proxyConn{Conn: conn}, nil
	}
	t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
		return connectError(resp.StatusCode)
	}
	return t
}

// proxyConn blames the proxy for a connection on which nothing ever came back.
type proxyConn struct {
	net.Conn
	spoke atomic.Bool
}

func (c *proxyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.spoke.Store(true)
	} else if err != nil && !c.spoke.Load() {
		err = errors.Join(errProxy, err)
	}
	return n, err
}

// connectError is what the proxy's answer to CONNECT means. That it will not
// connect to the endpoint, or cannot (RFC 9110, section 15.6), counts like an
// endpoint that does not work: otherwise a dead one would be tried for ever.
func connectError(status int) error {
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusForbidden:
		return errProxyForbids
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Errorf("%w (%d)", errProxyCannot, status)
	}
	return errProxy
}

// refusedByProxy reports whether an answer says that the proxy does not know the
// bridge. An app behind it can say 407, too, but not ask for the proxy's password
// (RFC 9110, section 11.7.1).
func refusedByProxy(resp *http.Response) bool {
	return resp.StatusCode == http.StatusProxyAuthRequired && resp.Header.Get("Proxy-Authenticate") != ""
}

// proxyError finds out whom to blame for a request through the proxy that failed.
func proxyError(err error) error {
	for _, known := range []error{errProxy, errProxyForbids, errProxyCannot} {
		if errors.Is(err, known) {
			return err
		}
	}
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "proxyconnect" && op.Op != "socks connect" {
		return err
	}
	// What a SOCKS proxy answered comes as text only (RFC 1928, section 6).
	answer, _ := strings.CutPrefix(withoutAddresses(op), "unknown error ")
	switch answer {
	case "connection not allowed by ruleset":
		return errProxyForbids
	case "network unreachable", "host unreachable", "connection refused", "TTL expired":
		return errProxyCannot
	}
	return errProxy
}
