package wamp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/anybridge/anybridge/core"
)

// parallel runs b.N times f in a number of goroutines.
func parallel(b *testing.B, inFlight int, f func() error) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for range inFlight {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkCall is a call round trip from the bridge through the router inside back
// to the bridge: two sessions, one process.
func BenchmarkCall(b *testing.B) {
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("in-flight-%d", n), func(b *testing.B) {
			backend, _ := run(b, inside)
			serve(b, backend, "com.echo", echo)
			call := &core.Call{Procedure: address("com.echo"), Payload: core.Payload{Args: json.RawMessage(`["hello",42]`)}}
			parallel(b, n, func() error {
				_, err := backend.Call(context.Background(), call)
				return err
			})
		})
	}
}

// BenchmarkCallOut calls a callee that is connected by WebSocket, in this process.
func BenchmarkCallOut(b *testing.B) {
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("in-flight-%d", n), func(b *testing.B) {
			backend, info := run(b, inside)
			serve(b, join(b, info.Listen[0]), "com.echo", echo)
			call := &core.Call{Procedure: address("com.echo"), Payload: core.Payload{Args: json.RawMessage(`["hello",42]`)}}
			parallel(b, n, func() error {
				_, err := backend.Call(context.Background(), call)
				return err
			})
		})
	}
}

// BenchmarkPublish publishes, with acknowledgement, to nobody.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("in-flight-%d", n), func(b *testing.B) {
			backend, _ := run(b, inside)
			payload := core.Payload{Args: json.RawMessage(`["hello",42]`)}
			parallel(b, n, func() error {
				return backend.Publish(context.Background(), &core.Event{Topic: address("com.topic"), Payload: payload})
			})
		})
	}
}

// BenchmarkReceive has a WebSocket client in this process publish with
// acknowledgement, 64 at a time, and counts what arrives at the bridge's subscription.
func BenchmarkReceive(b *testing.B) {
	backend, info := run(b, inside)
	peer := join(b, info.Listen[0])
	events := subscribe(b, backend, exact("com.topic"))
	payload := core.Payload{Args: json.RawMessage(`["hello",42]`)}
	var receiving sync.WaitGroup
	receiving.Go(func() {
		for got := 0; got < b.N; {
			batch, err := events.Next(context.Background())
			if err != nil {
				b.Error(err)
				return
			}
			got += len(batch)
		}
	})
	parallel(b, 64, func() error {
		return peer.Publish(context.Background(), &core.Event{Topic: address("com.topic"), Payload: payload})
	})
	receiving.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkCallOutside joins a router over the network, as a caller and as a
// callee: router, bridge and network in one process.
func BenchmarkCallOutside(b *testing.B) {
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("in-flight-%d", n), func(b *testing.B) {
			_, info := run(b, inside)
			backend, _ := run(b, fmt.Sprintf(`{"url": %q, "realm": "realm1"}`, info.Listen[0]))
			serve(b, backend, "com.echo", echo)
			call := &core.Call{Procedure: address("com.echo"), Payload: core.Payload{Args: json.RawMessage(`["hello",42]`)}}
			parallel(b, n, func() error {
				_, err := backend.Call(context.Background(), call)
				return err
			})
		})
	}
}
