package rest

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/adapters/http/internal/quick"
	"github.com/anybridge/anybridge/core"
)

// Frontend serves the REST API. It is safe for concurrent use.
type Frontend struct {
	o         Options
	limits    Limits
	routes    map[string]*route
	metrics   *metrics
	admission *admission
	guesses   *guesses
	strangers *strangers
	conns     *connections
	exchanges sync.Pool
	started   time.Time
	clock     func() int64 // nanoseconds since then
	draining  atomic.Bool
	server    http.Server
	quick     *quick.Server
}

// New makes a frontend.
func New(o Options) (*Frontend, error) {
	switch {
	case o.Bridge == nil, o.Work == nil, o.Callbacks == nil, o.Tokens == nil, o.Log == nil:
		return nil, core.Errorf(core.InvalidArgument, "make REST frontend: Bridge, Work, Callbacks, Tokens and Log are required")
	}
	f := &Frontend{o: o, limits: o.Limits.withDefaults(), started: time.Now()}
	f.admission = newAdmission(f.limits.MaxRequests, f.limits.MaxRequestsPerToken)
	f.clock = func() int64 { return int64(time.Since(f.started)) }
	f.guesses = newGuesses(f.limits.MaxGuesses, f.limits.GuessPause)
	f.strangers = &strangers{maxNow: int64(f.limits.MaxRequests), maxBytes: strangerBytes}
	f.conns = newConnections(f.limits.MaxConnections, f.limits.MaxConnectionsPerAddress)
	f.exchanges.New = func() any { return new(exchange) }
	f.metrics = newMetrics(f)
	f.routes = f.table()
	for _, rt := range f.routes {
		f.metrics.prepare(rt)
	}
	f.configureServer()
	return f, nil
}

// Handler serves the API.
func (f *Frontend) Handler() http.Handler { return http.HandlerFunc(f.serve) }

// serve finds the route, runs it and turns what went wrong into a problem.
func (f *Frontend) serve(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	x := f.exchanges.Get().(*exchange) //nolint:forcetypeassert // its New makes nothing else
	x.f, x.w, x.r, x.start = f, w, r, start
	defer f.finish(x)
	rt, name, named := f.route(r)
	x.route, x.name = rt, name
	x.extendHTTP2()
	if err := f.handle(x, rt, named); err != nil {
		x.problem(err)
	}
}

// finish answers a panic, counts the request and gives the exchange back.
func (f *Frontend) finish(x *exchange) {
	if p := recover(); p != nil {
		if p == http.ErrAbortHandler { //nolint:errorlint,err113 // net/http compares it so
			panic(p)
		}
		f.o.Log.Error("request handler panicked", slog.String("route", x.route.pattern), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		if x.status == 0 {
			x.problem(&core.Error{Code: core.Internal})
		}
	}
	elapsed := time.Since(x.start)
	x.route.count(x.status, elapsed)
	if f.o.Log.Enabled(x.r.Context(), slog.LevelDebug) {
		f.o.Log.Debug("request", slog.String("method", x.r.Method), slog.String("route", x.route.pattern),
			slog.String("token", x.owner()), slog.Int("status", x.status), slog.Duration("took", elapsed))
	}
	x.known()
	if x.tokenGate != nil {
		f.admission.leave(x.tokenGate)
	}
	const keep = 64 << 10
	out := x.out[:0]
	if cap(out) > keep {
		out = nil
	}
	*x = exchange{out: out}
	f.exchanges.Put(x)
}

func (f *Frontend) handle(x *exchange, rt *route, named bool) error {
	if err := x.checkURL(x.r); err != nil {
		return err
	}
	if rt.unknown() || named != rt.named {
		return noRoute(rt)
	}
	if x.r.Method == http.MethodOptions {
		return f.options(x)
	}
	handler := rt.handler(x.r.Method)
	if handler == nil {
		x.w.Header().Set("Allow", rt.allow)
		return core.Errorf(methodNotAllowed, "%s is for %s", rt.pattern, rt.allow)
	}
	return handler(x)
}

// noRoute is the error of a path that does not exist.
func noRoute(rt *route) error {
	switch {
	case rt.unknown():
		return core.Errorf(core.NotFound, "there is nothing here; /openapi.json tells what there is")
	case rt.named:
		return core.Errorf(core.InvalidArgument, "write the name into the path: %s", rt.pattern)
	default:
		return core.Errorf(core.NotFound, "there is nothing here; did you mean %s?", rt.pattern)
	}
}

// requestContext bounds a request that changes a table or waits for a backend's
// acknowledgement.
func (f *Frontend) requestContext(x *exchange) (context.Context, context.CancelFunc) {
	return context.WithTimeout(x.r.Context(), f.limits.Timeout)
}

// text is an address as clients write it.
func (f *Frontend) text(a core.Address) string { return a.Text(f.o.Bridge.DefaultBackend()) }

// route finds the route of a path and the name in it. A trailing slash is
// optional; what stands between the first component and that slash is the name,
// percent-decoded once, so that a slash at a name's end must be written %2F.
func (f *Frontend) route(r *http.Request) (rt *route, name string, named bool) {
	path, encoded := r.URL.Path, false
	if r.URL.RawPath != "" {
		path, encoded = r.URL.RawPath, true
	}
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	rt = f.routes[first]
	if rt == nil || rt.unknown() {
		return f.routes[""], "", false
	}
	rest = strings.TrimSuffix(rest, "/")
	if rest == "" {
		return rt, "", false
	}
	if rt.things {
		if rt, rest = f.thing(first, rest); !rt.named {
			return rt, "", false
		}
	}
	if encoded {
		rest = unescapePath(rest)
	}
	return rt, rest, true
}
