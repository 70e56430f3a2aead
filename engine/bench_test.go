package engine_test

import (
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// callers is how many publishers there are at once in the benchmarks.
const callers = 64

// benchEngine is an engine whose endpoints are one subscription each to 64 topics.
func benchEngine(b *testing.B, d engine.Durability, to engine.Sender) (*engine.Engine, []*core.Subscription) {
	b.Helper()
	o := options(b.TempDir(), to)
	o.Durability, o.Log = d, slog.New(slog.DiscardHandler)
	e := engine.New(o)
	if err := e.Open(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeNow(e) })
	var subs []*core.Subscription
	for n := range callers {
		s := subscription("bench", core.Endpoint{})
		s.Pattern.Name = "topic" + strconv.Itoa(n)
		subs = append(subs, s)
	}
	if err := e.Registry().Save(b.Context(), subs, nil); err != nil {
		b.Fatal(err)
	}
	return e, subs
}

// publishAll delivers b.N events of 200 bytes.
func publishAll(b *testing.B, e *engine.Engine, subs []*core.Subscription) {
	b.Helper()
	payload := core.Payload{Args: []byte(`["` + string(make([]byte, 196)) + `"]`)}
	b.SetParallelism(callers / 2) // of two cores
	var n atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		to := subs[int(n.Add(1))%len(subs)]
		for pb.Next() {
			id := strconv.FormatInt(n.Add(1), 36)
			x := &core.Event{ID: id, Topic: to.Pattern.Address, Payload: payload}
			if err := e.Deliver(context.Background(), []core.Owed{{Event: x, ID: id, To: []*core.Subscription{to}}}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkDeliver is one acknowledged event for one endpoint, which never answers.
func BenchmarkDeliver(b *testing.B) {
	for _, d := range []engine.Durability{engine.Process, engine.Disk} {
		b.Run(string(d), func(b *testing.B) {
			e, subs := benchEngine(b, d, senderFunc(hang))
			publishAll(b, e, subs)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkEndToEnd is one event from Deliver to the answer of its endpoint.
func BenchmarkEndToEnd(b *testing.B) {
	for _, d := range []engine.Durability{engine.Process, engine.Disk} {
		b.Run(string(d), func(b *testing.B) {
			var answered atomic.Int64
			all := make(chan struct{})
			e, subs := benchEngine(b, d, senderFunc(func(context.Context, *engine.Attempt) engine.Outcome {
				if answered.Add(1) == int64(b.N) {
					close(all)
				}
				return done
			}))
			publishAll(b, e, subs)
			<-all
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
