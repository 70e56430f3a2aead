package rest

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/anybridge/anybridge/core"
)

const namespace = "anybridge"

// metrics is the frontend's own registry: the metrics of requests, and a view of
// the counters that the bridge, the engine, the callbacks and the backends keep.
type metrics struct {
	handler  http.Handler
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec

	rateLimited atomic.Int64 // requests refused since the token made too many
	wrongTokens atomic.Int64
}

// latencyBuckets range from what a local call takes to the longest timeouts.
func latencyBuckets() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
}

func newMetrics(f *Frontend) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "http_requests_total", Help: "Requests answered.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "http_request_seconds", Help: "Time to answer a request.", Buckets: latencyBuckets(),
		}, []string{"route"}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.requests, m.seconds, &bridgeCollector{f}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(f.o.Callbacks.metrics.collectors()...)
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return m
}

// prepare resolves a route's labels once.
func (m *metrics) prepare(rt *route) {
	rt.requests = m.requests
	rt.seconds = m.seconds.WithLabelValues(rt.pattern)
}

// bridgeCollector reads the counters that others keep when it is scraped.
type bridgeCollector struct{ f *Frontend }

// Describe implements prometheus.Collector: the names depend on what there is, so
// the collector is unchecked.
func (c *bridgeCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *bridgeCollector) Collect(ch chan<- prometheus.Metric) {
	f := c.f
	s := f.o.Bridge.Stats()
	counter := func(name, help string, v int64, labels ...string) {
		ch <- constMetric(prometheus.CounterValue, name, help, v, labels)
	}
	gauge := func(name, help string, v int64, labels ...string) {
		ch <- constMetric(prometheus.GaugeValue, name, help, v, labels)
	}
	gauge("build_info", "Always 1.", 1, "version", f.o.Version)
	gauge("http_requests_now", "Requests of tokens under way.", f.admission.all.Load())
	gauge("http_connections_now", "Connections of clients.", int64(f.conns.now()))
	counter("http_connections_refused_total", "Connections closed at once since there were too many.", f.conns.refused.Load())
	counter("http_rate_limited_total", "Requests refused since their token made too many.", f.metrics.rateLimited.Load())
	counter("http_wrong_tokens_total", "Requests with a wrong token.", f.metrics.wrongTokens.Load())
	gauge("callbacks_now", "Callbacks under way.", f.o.Callbacks.now.Load())
	counter("events_total", "Events published (out) and received from subscriptions (in).", s.EventsOut.Load(), "direction", "out")
	counter("events_total", "Events published (out) and received from subscriptions (in).", s.EventsIn.Load(), "direction", "in")
	counter("deliveries_total", "Deliveries owed to endpoints.", s.Deliveries.Load())
	counter("calls_total", "Calls to backends (out) and to endpoints (in).", s.CallsOut.Load(), "direction", "out")
	counter("calls_total", "Calls to backends (out) and to endpoints (in).", s.CallsIn.Load(), "direction", "in")
	counter("calls_failed_total", "Calls that ended in an error.", s.CallsOutFailed.Load(), "direction", "out")
	counter("calls_failed_total", "Calls that ended in an error.", s.CallsInFailed.Load(), "direction", "in")
	gauge("invocations_now", "Calls to endpoints under way.", s.InvocationsNow.Load())
	gauge("registrations_now", "Registrations.", int64(len(f.o.Bridge.Registrations(""))))
	gauge("subscriptions_now", "Subscriptions.", int64(len(f.o.Bridge.Subscriptions(""))))
	f.collectEngine(context.Background(), counter, gauge)
	counter("subscription_gaps_total", "Times in which a subscription could not hear.", s.Gaps.Load())
	for _, r := range f.carriers() {
		for _, c := range []struct {
			outcome string
			n       int64
		}{
			{"carried", r.Carried}, {"filtered", r.Filtered}, {"dropped", r.Dropped},
			{"refused", r.Refused}, {"failed", r.Failed}, {"braked", r.Braked},
		} {
			counter("route_events_total", "What became of the events, or calls, that came for a route.", c.n, "route", r.Name, "to", r.To, "outcome", c.outcome)
		}
		gauge("route_waiting_now", "Events that wait in memory for a route, or calls through it that are under way.", int64(r.Waiting), "route", r.Name, "to", r.To)
	}
	for _, b := range f.backends(context.Background()) {
		up := int64(0)
		if b.State == core.Up {
			up = 1
		}
		gauge("backend_up", "Whether the backend is up.", up, "backend", b.Name, "kind", b.Kind)
		if b.Process != nil {
			counter("plugin_restarts_total", "Restarts of the backend's process.", b.Process.Restarts, "backend", b.Name)
		}
		for name, v := range b.Counters {
			if strings.HasSuffix(name, "_now") {
				gauge("backend_gauge", "What the backend measures.", v, "backend", b.Name, "name", name)
			} else {
				counter("backend_events_total", "What the backend counts.", v, "backend", b.Name, "name", name)
			}
		}
	}
}

// constMetric makes one value; labels are names and values in turns.
func constMetric(kind prometheus.ValueType, name, help string, v int64, labels []string) prometheus.Metric {
	var names, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	m, err := prometheus.NewConstMetric(prometheus.NewDesc(namespace+"_"+name, help, names, nil), kind, float64(v), values...)
	if err != nil {
		return prometheus.NewInvalidMetric(prometheus.NewDesc(namespace+"_"+name, help, names, nil), err)
	}
	return m
}
