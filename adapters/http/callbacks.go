package rest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// CallbackOptions are what Callbacks needs. Zero fields mean the defaults.
type CallbackOptions struct {
	Policy
	// MaxResponse bounds a response's body, after decompression; 1 MiB.
	MaxResponse int64
	// MaxPerHost and MaxInFlight bound the callbacks under way at once, to one host
	// and port and together; 512 and 8,192. More wait for their turn.
	MaxPerHost, MaxInFlight int
	// Resolver looks host names up; nil: the system's. What it answers is not
	// trusted: every address is checked when it is dialed.
	Resolver *net.Resolver

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
	if old := c.policy.Swap(c.newPolicy(o)); old != nil {
		old.transport.CloseIdleConnections()
	}
}

// Close closes idle connections. Callbacks under way are finished.
func (c *Callbacks) Close() { c.policy.Load().transport.CloseIdleConnections() }

// timeout is how long one callback to the endpoint may take.
func (c *Callbacks) timeout(e *core.Endpoint) time.Duration {
	if e.Timeout > 0 {
		return e.Timeout
	}
	return c.policy.Load().timeout
}

// Errors of post that say more than that it failed.
var (
	errBusy         = errors.New("too many callbacks to this host are under way")
	errTooLong      = errors.New("the answer is too long")
	errGzip         = errors.New("the answer is not the gzip that it says")
	errProxy        = errors.New("the egress proxy does not work")
	errProxyForbids = errors.New("the egress proxy does not allow it")
	errProxyCannot  = errors.New("the egress proxy cannot reach it")
	errDeadline     = errors.New("the endpoint did not answer in time")
)

// post sends one callback and reads the answer. again allows the transport to
// send it once more on a fresh connection when a kept one turns out to be closed.
func (c *Callbacks) post(ctx context.Context, e *core.Endpoint, id string, body []byte, again bool) (*reply, error) {
	p := c.policy.Load()
	u, err := p.target(e.URL)
	if err != nil {
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
	resp, err := p.transport.RoundTrip(c.request(ctx, u, e, id, body, again))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		if p.proxy != nil {
			err = proxyError(err)
		}
		return nil, err
	}
	defer resp.Body.Close()
	if p.proxy != nil && refusedByProxy(resp) {
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
		"Accept-Encoding":   {"gzip"}, // see readReply
		"Content-Type":      {jsonType},
		"User-Agent":        {c.userAgent},
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {timestamp},
	}
	if len(e.Keys) > 0 {
		h["Webhook-Signature"] = []string{sign(e.Keys, id, timestamp, body)}
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
