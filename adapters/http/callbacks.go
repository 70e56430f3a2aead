package rest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// Policy is what an operator can change of callbacks while the bridge runs. Zero
// fields mean the defaults.
type Policy struct {
	// Allow are networks that callbacks may reach beside public addresses.
	Allow []netip.Prefix
	// Timeout of one callback whose endpoint names none; 15 s.
	Timeout time.Duration
	// Proxy is an egress proxy, trusted to refuse what must not be reached: with
	// one, names are resolved there, and only literal addresses are checked here.
	Proxy *url.URL
}

// CallbackOptions are what Callbacks needs. Zero fields mean the defaults.
type CallbackOptions struct {
	Policy
	// MaxResponse bounds a response's body, after decompression; 1 MiB.
	MaxResponse int64
	// MaxPerHost and MaxInFlight bound the callbacks under way at once, to one host
	// and port and together; 512 and 8,192. More wait for their turn.
	MaxPerHost, MaxInFlight int
	// CA are the authorities that endpoints' certificates are checked against; nil:
	// the system's.
	CA *x509.CertPool

	Version        string       // for User-Agent
	DefaultBackend string       // whose addresses are written without a prefix
	Log            *slog.Logger // required
}

// Callbacks sends invocations, events and results to endpoints. All its methods
// may be called concurrently.
//
// Every callback is signed (Standard Webhooks 1.0). Redirects are not followed. No
// connection is made to an address that is neither public nor allowed, whatever
// name led to it. Nothing is sent twice, but an event or a result whose
// connection the app closed at the same moment.
type Callbacks struct {
	o         CallbackOptions
	userAgent string
	policy    atomic.Pointer[policy]
	transport atomic.Pointer[http.Transport]
	gates     *gates
	metrics   *callbackMetrics
	now       atomic.Int64
	health    sync.Map // *core.Registration → *registrationHealth
	healthLen atomic.Int64
}

var (
	_ core.Invoker  = (*Callbacks)(nil)
	_ engine.Sender = (*Callbacks)(nil)
)

// NewCallbacks makes a sender of callbacks. Close releases its connections.
func NewCallbacks(o CallbackOptions) (*Callbacks, error) {
	if o.Log == nil {
		return nil, core.Errorf(core.InvalidArgument, "make callback sender: Log is required")
	}
	if o.Proxy != nil && o.Proxy.Scheme != "http" && o.Proxy.Scheme != "https" && o.Proxy.Scheme != "socks5" {
		return nil, core.Errorf(core.InvalidArgument, "callback proxy: want an http, https or socks5 URL")
	}
	setDefault(&o.MaxResponse, 1<<20)
	setDefault(&o.MaxPerHost, 512)
	setDefault(&o.MaxInFlight, 8192)
	c := &Callbacks{o: o, userAgent: "anybridge/" + headerText(o.Version), gates: newGates(o.MaxPerHost, o.MaxInFlight), metrics: newCallbackMetrics()}
	c.SetPolicy(o.Policy)
	return c, nil
}

// SetPolicy replaces the policy. Connections made under the old one are not used
// again; callbacks under way are finished.
func (c *Callbacks) SetPolicy(o Policy) {
	p := newPolicy(o)
	c.policy.Store(p)
	if old := c.transport.Swap(c.newTransport(p)); old != nil {
		old.CloseIdleConnections()
	}
}

// Close closes idle connections. Callbacks under way are finished.
func (c *Callbacks) Close() { c.transport.Load().CloseIdleConnections() }

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
func (c *Callbacks) newTransport(p *policy) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.o.CA, ClientSessionCache: tls.NewLRUClientSessionCache(0)},
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConnsPerHost:    c.o.MaxPerHost,
		IdleConnTimeout:        idleConnection,
		MaxResponseHeaderBytes: maxReplyHeader,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	if p.proxy != nil {
		t.Proxy = http.ProxyURL(p.proxy)
	} else {
		dialer.Control = p.control
	}
	return t
}

// timeout is how long one callback to the endpoint may take.
func (c *Callbacks) timeout(e *core.Endpoint) time.Duration {
	if e.Timeout > 0 {
		return e.Timeout
	}
	return c.policy.Load().timeout
}

// reply is an endpoint's answer, read to its end.
type reply struct {
	status int
	header http.Header
	// framed is the body with one free byte before and after it.
	framed []byte
}

func (r *reply) body() []byte { return r.framed[1 : len(r.framed)-1] }

// Errors of post that say more than that it failed.
var (
	errBusy     = errors.New("too many callbacks to this host are under way")
	errTooLong  = errors.New("the answer is too long")
	errProxy    = errors.New("the egress proxy does not work")
	errDeadline = errors.New("the endpoint did not answer in time")
)

// post sends one callback and reads the answer. again allows the transport to
// send it once more on a fresh connection when a kept one turns out to be closed.
func (c *Callbacks) post(ctx context.Context, e *core.Endpoint, id string, body []byte, again bool) (*reply, error) {
	u, err := url.Parse(e.URL)
	if err != nil {
		return nil, core.Errorf(core.CallbackForbidden, "the callback URL is not valid")
	}
	if err := c.policy.Load().checkLiteral(u.Hostname()); err != nil {
		return nil, err
	}
	timeout := c.timeout(e)
	if err := c.gates.enter(ctx, u.Host, timeout); err != nil {
		return nil, err
	}
	defer c.gates.leave(u.Host)
	c.now.Add(1)
	defer c.now.Add(-1)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errDeadline)
	defer cancel()
	resp, err := c.transport.Load().RoundTrip(c.request(ctx, u, e, id, body, again))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, c.proxyError(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusProxyAuthRequired && c.policy.Load().proxy != nil {
		return nil, errProxy
	}
	r := &reply{status: resp.StatusCode, header: resp.Header}
	if r.framed, err = readReply(resp, c.o.MaxResponse); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	return r, nil
}

func (c *Callbacks) request(ctx context.Context, u *url.URL, e *core.Endpoint, id string, body []byte, again bool) *http.Request {
	id = webhookID(id)
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	h := http.Header{
		"Content-Type":      {jsonType},
		"User-Agent":        {c.userAgent},
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {timestamp},
	}
	if len(e.Key) > 0 {
		h["Webhook-Signature"] = []string{sign([]core.Secret{e.Key}, id, timestamp, body)}
	}
	if again {
		h["Idempotency-Key"] = nil // not sent; net/http takes it as leave to repeat
	}
	r := &http.Request{
		Method: http.MethodPost, URL: u, Host: u.Host, Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(body)),
		Body:          io.NopCloser(bytes.NewReader(body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}
	return r.WithContext(ctx)
}

// readReply reads a response's body of at most limit bytes to its end, so that the
// connection can be used again.
func readReply(resp *http.Response, limit int64) ([]byte, error) {
	size := int64(512)
	if n := resp.ContentLength; n > limit {
		return nil, errTooLong
	} else if n >= 0 {
		size = n
	}
	buf := make([]byte, 1, min(size, 64<<10)+2)
	for {
		n, err := resp.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf))-1 > limit:
			return nil, errTooLong
		case err == io.EOF:
			if bytes.HasPrefix(buf[1:], []byte("\ufeff")) {
				buf = buf[len("\ufeff"):]
			}
			return append(buf, 0), nil
		case err != nil:
			return nil, err
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
	}
}

// proxyError marks what the proxy, and not the endpoint, is to blame for.
func (c *Callbacks) proxyError(err error) error {
	if c.policy.Load().proxy == nil {
		return err
	}
	var op *net.OpError
	if errors.As(err, &op) && (op.Op == "proxyconnect" || op.Op == "dial" || op.Op == "socks connect") {
		return errProxy
	}
	return err
}

// headerText keeps of s what may stand in a product token (RFC 9110, section 5.6.2).
func headerText(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '+' || c == '_' {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return "dev"
	}
	return string(out)
}
