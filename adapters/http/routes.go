package rest

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// route is what is served under one first path component.
type route struct {
	pattern string // as the OpenAPI document has it
	named   bool   // a name follows
	things  bool   // what follows is not a name but one of them; see thing
	get     func(*exchange) error
	post    func(*exchange) error
	delete  func(*exchange) error

	allow    string
	requests *prometheus.CounterVec
	seconds  prometheus.Observer
	byStatus [maxStatus - minStatus]atomic.Pointer[prometheus.Counter]
}

const minStatus, maxStatus = 100, 600

// table is every route by its first path component, and those of single things by
// the shape of their path; the one that stands for paths which do not exist has
// none.
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

		"deliveries":          {pattern: "/deliveries/", things: true, get: f.listDeliveries},
		"deliveries/replay":   {pattern: "/deliveries/replay/", post: f.replayAll},
		"deliveries/*":        {pattern: "/deliveries/{id}/", named: true, get: f.showDelivery, delete: f.discard},
		"deliveries/*/replay": {pattern: "/deliveries/{id}/replay/", named: true, post: f.replay},
	}
	for _, rt := range routes {
		var allow []string
		for _, m := range []struct {
			methods string
			handler func(*exchange) error
		}{{"DELETE", rt.delete}, {"GET, HEAD", rt.get}, {"OPTIONS", f.options}, {"POST", rt.post}} {
			if m.handler != nil {
				allow = append(allow, m.methods)
			}
		}
		rt.allow = strings.Join(allow, ", ")
	}
	return routes
}

func (rt *route) unknown() bool { return rt.get == nil && rt.post == nil && rt.delete == nil }

// handler is what serves a method, or nil.
func (rt *route) handler(method string) func(*exchange) error {
	switch method {
	case http.MethodPost:
		return rt.post
	case http.MethodGet, http.MethodHead:
		return rt.get
	case http.MethodDelete:
		return rt.delete
	}
	return nil
}

// options serves OPTIONS of every route.
func (f *Frontend) options(x *exchange) error {
	x.w.Header().Set("Allow", x.route.allow)
	return x.reply(http.StatusNoContent, "")
}

// thing finds the route of what follows a first path component that has single
// things below it, and the thing's name, not yet decoded: DELETE /first/NAME/ or
// POST /first/NAME/verb/.
func (f *Frontend) thing(first, rest string) (rt *route, name string) {
	if rt := f.routes[first+"/"+rest]; rt != nil && !rt.named {
		return rt, ""
	}
	if i := strings.LastIndexByte(rest, '/'); i > 0 {
		if rt := f.routes[first+"/*/"+rest[i+1:]]; rt != nil {
			return rt, rest[:i]
		}
	}
	return f.routes[first+"/*"], rest
}

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
