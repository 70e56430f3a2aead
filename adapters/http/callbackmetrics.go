package rest

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

type callbackKind int

const (
	kindEvent callbackKind = iota
	kindInvocation
	kindResult
	kinds
)

func (k callbackKind) String() string { return [...]string{"event", "invocation", "result"}[k] }

// callbackOutcome is what came of one callback, in one word.
type callbackOutcome int

const (
	outcomeOK        callbackOutcome = iota // done; for an invocation also an error that the procedure raised
	outcomeGone                             // 410
	outcomeFailed                           // another status, or no connection
	outcomeTimeout                          // no answer in time
	outcomeForbidden                        // an address that is not allowed
	outcomeCanceled                         // nobody waits any more
	outcomeBusy                             // not sent: our bounds, the proxy, or shutting down
	outcomes
)

func (o callbackOutcome) String() string {
	return [...]string{"ok", "gone", "failed", "timeout", "forbidden", "canceled", "busy"}[o]
}

// outcomeOf is the outcome of an invocation.
func outcomeOf(err error) callbackOutcome {
	switch core.CodeOf(err) {
	case "", core.Application, core.NoSuchProcedure:
		return outcomeOK
	case core.Timeout:
		return outcomeTimeout
	case core.Canceled:
		return outcomeCanceled
	case core.TooMany:
		return outcomeBusy
	default:
		return outcomeFailed
	}
}

// sentOutcome is the outcome of an event or a result.
func sentOutcome(out *engine.Outcome, err error) callbackOutcome {
	switch {
	case out.Done:
		return outcomeOK
	case out.Gone:
		return outcomeGone
	case out.Ours:
		return outcomeBusy
	case errors.Is(err, errDeadline):
		return outcomeTimeout
	case errors.Is(err, errForbidden), errors.Is(err, errProxyForbids), core.CodeOf(err) == core.CallbackForbidden:
		return outcomeForbidden
	}
	return outcomeFailed
}

// callbackMetrics has its labels resolved before the first callback.
type callbackMetrics struct {
	total   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	counts  [kinds][outcomes]prometheus.Counter
	times   [kinds]prometheus.Observer
}

func newCallbackMetrics() *callbackMetrics {
	m := &callbackMetrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "callbacks_total", Help: "Callbacks sent, by what came of them.",
		}, []string{"kind", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "callback_seconds", Help: "Time from sending a callback to its answer.", Buckets: latencyBuckets(),
		}, []string{"kind"}),
	}
	for k := range kinds {
		m.times[k] = m.seconds.WithLabelValues(k.String())
		for o := range outcomes {
			m.counts[k][o] = m.total.WithLabelValues(k.String(), o.String())
		}
	}
	return m
}

func (m *callbackMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.total, m.seconds}
}

func (m *callbackMetrics) observe(k callbackKind, o callbackOutcome, took time.Duration) {
	m.counts[k][o].Inc()
	m.times[k].Observe(took.Seconds())
}
