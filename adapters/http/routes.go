package rest

import (
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// route is what is served under one first path component.
type route struct {
	pattern string // as the OpenAPI document has it
	named   bool   // a name follows
	get     func(*exchange) error
	post    func(*exchange) error

	allow    string
	requests *prometheus.CounterVec
	seconds  prometheus.Observer
	byStatus [maxStatus - minStatus]atomic.Pointer[prometheus.Counter]
}

const minStatus, maxStatus = 100, 600

// table is every route by its first path component; the one that stands for paths
// which do not exist has none.
func (f *Frontend) table() map[string]*route {
	routes := map[string]*route{
		"register":     {pattern: "/register/", get: f.listRegistrations, post: f.register},
		"unregister":   {pattern: "/unregister/", post: f.unregister},
		"subscribe":    {pattern: "/subscribe/", get: f.listSubscriptions, post: f.subscribe},
		"unsubscribe":  {pattern: "/unsubscribe/", post: f.unsubscribe},
		"call":         {pattern: "/call/{procedure}/", named: true, post: f.call},
		"publish":      {pattern: "/publish/{topic}/", named: true, post: f.publish},
		"reload":       {pattern: "/reload/", post: f.reload},
		"status":       {pattern: "/status/", get: f.status},
		"healthz":      {pattern: "/healthz", get: f.healthz},
		"readyz":       {pattern: "/readyz", get: f.readyz},
		"metrics":      {pattern: "/metrics", get: f.serveMetrics},
		"openapi.json": {pattern: "/openapi.json", get: f.openAPI},
		"":             {pattern: "none"},
	}
	for _, rt := range routes {
		switch {
		case rt.get != nil && rt.post != nil:
			rt.allow = "GET, HEAD, OPTIONS, POST"
		case rt.get != nil:
			rt.allow = "GET, HEAD, OPTIONS"
		default:
			rt.allow = "OPTIONS, POST"
		}
	}
	return routes
}

func (rt *route) unknown() bool { return rt.get == nil && rt.post == nil }

// count adds one answered request to the metrics.
func (rt *route) count(status int, took time.Duration) {
	rt.seconds.Observe(took.Seconds())
	if status < minStatus || status >= maxStatus {
		return
	}
	p := &rt.byStatus[status-minStatus]
	c := p.Load()
	if c == nil {
		counter := rt.requests.WithLabelValues(rt.pattern, statusLabel(status))
		c = &counter
		p.Store(c)
	}
	(*c).Inc()
}

func statusLabel(status int) string {
	return string([]byte{byte('0' + status/100), byte('0' + status/10%10), byte('0' + status%10)})
}

// unescapePath decodes a path that net/http has already found to be well encoded.
func unescapePath(s string) string {
	if decoded, err := url.PathUnescape(s); err == nil {
		return decoded
	}
	return s
}
