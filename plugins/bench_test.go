package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/anybridge/anybridge/core"
)

// inFlight runs b.N operations with so many callers at once.
func inFlight(b *testing.B, callers int, operation func() error) {
	b.Helper()
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := operation(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

func hundredBytes() core.Payload {
	return core.Payload{Args: json.RawMessage(`["0123456789012345678901234567890123456789",12345,true,null,{"name":"value","another":[1,2,3,4,5]}]`)}
}

// BenchmarkCall is a call of a procedure in the plugin and its result.
// The sub-benchmark unary is the floor to compare with: an empty unary gRPC call
// (a health check) to the same process over the same connection.
func BenchmarkCall(b *testing.B) {
	p, _ := launch(b)
	ctx := context.Background()
	for _, callers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("batched/%d", callers), func(b *testing.B) {
			c := &core.Call{Procedure: name("echo"), Payload: hundredBytes()}
			inFlight(b, callers, func() error { _, err := p.Call(ctx, c); return err })
		})
		b.Run(fmt.Sprintf("unary/%d", callers), func(b *testing.B) {
			health := grpc_health_v1.NewHealthClient(p.live.Load().process.conn)
			request := &grpc_health_v1.HealthCheckRequest{Service: "plugin"}
			inFlight(b, callers, func() error { _, err := health.Check(ctx, request); return err })
		})
	}
}

// BenchmarkCallWithDeadline is what calls from HTTP look like: with a context that can end.
func BenchmarkCallWithDeadline(b *testing.B) {
	p, _ := launch(b)
	c := &core.Call{Procedure: name("echo"), Payload: hundredBytes()}
	inFlight(b, 64, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := p.Call(ctx, c)
		return err
	})
}

// BenchmarkPublish is a publish and its acknowledgement.
func BenchmarkPublish(b *testing.B) {
	p, _ := launch(b)
	ctx := context.Background()
	for _, callers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			inFlight(b, callers, func() error {
				return p.Publish(ctx, &core.Event{Topic: name("nobody"), Payload: hundredBytes()})
			})
		})
	}
}

// BenchmarkEvents is how fast events come out of a plugin that has plenty.
func BenchmarkEvents(b *testing.B) {
	p, _ := launch(b)
	ctx := context.Background()
	s, err := p.Subscribe(ctx, exact("flood"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	if _, err := call(ctx, p, "flood", fmt.Sprintf("[%d]", b.N)); err != nil {
		b.Fatal(err)
	}
	for n := 0; n < b.N; {
		events, err := s.Next(ctx)
		if err != nil {
			b.Fatal(err)
		}
		n += len(events)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkInvocations is a call into the plugin, from there to a procedure of the
// bridge's, and all the way back: two round trips.
func BenchmarkInvocations(b *testing.B) {
	p, _ := launch(b)
	ctx := context.Background()
	s, err := p.Register(ctx, exact("mine"), core.RegisterOptions{})
	if err != nil {
		b.Fatal(err)
	}
	_, ended := serveAdd(s)
	c := &core.Call{Procedure: name("mine"), Payload: hundredBytes()}
	for _, callers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			inFlight(b, callers, func() error { _, err := p.Call(ctx, c); return err })
		})
	}
	_ = s.Close()
	<-ended
}
