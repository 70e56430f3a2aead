package redis_test

import (
	"bufio"
	"io"
	"net"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/anybridge/anybridge/backends/redis/redistest"
)

// BenchmarkPublish has 64 goroutines publish a small event each, and wait for Redis to
// accept it: with the backend, with go-redis' PUBLISH, and over one connection in
// pipelines of 64 as the floor.
func BenchmarkPublish(b *testing.B) {
	const workers = 64
	s := redistest.Start(b)
	each := func(b *testing.B, publish func() error) {
		b.Helper()
		var wg sync.WaitGroup
		b.ResetTimer()
		for w := range workers {
			wg.Go(func() {
				for range b.N/workers + min(1, b.N%workers/(w+1)) {
					if err := publish(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	}
	b.Run("backend", func(b *testing.B) {
		backend := open(b, s.URL())
		ctx := b.Context()
		each(b, func() error { return backend.Publish(ctx, event("orders", `["hello",{"n":1}]`)) })
	})
	const message = `{"args":["hello",{"n":1}],"id":"evt_abcdefghijklmnopqrstuvwxyz","from":"redis_abcdefghijklmnopqrstuvwxyz"}`
	b.Run("go-redis", func(b *testing.B) {
		client := goredis.NewClient(&goredis.Options{Addr: s.Addr, Protocol: 2, PoolSize: workers})
		defer client.Close()
		ctx := b.Context()
		each(b, func() error { return client.Publish(ctx, "orders", message).Err() })
	})
	b.Run("floor", func(b *testing.B) {
		c, err := net.Dial("tcp", s.Addr)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		r := bufio.NewReader(c)
		var batch []byte
		for range workers {
			batch = append(batch, "*3\r\n$7\r\nPUBLISH\r\n$6\r\norders\r\n$104\r\n"...)
			batch = append(batch, (message + "                         ")[:104]...)
			batch = append(batch, "\r\n"...)
		}
		b.ResetTimer()
		for n := 0; n < b.N; n += workers {
			if _, err := c.Write(batch); err != nil {
				b.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, r, 4*workers); err != nil { // ":0\r\n"
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	})
}

// BenchmarkReceive measures how fast events come out of a subscription.
func BenchmarkReceive(b *testing.B) {
	s := redistest.Start(b)
	backend := open(b, s.URL())
	in := subscribe(b, backend, "orders", "exact")
	client := goredis.NewClient(&goredis.Options{Addr: s.Addr, Protocol: 2})
	defer client.Close()
	ctx := b.Context()
	b.ResetTimer()
	go func() {
		for n := 0; n < b.N; n += 100 {
			_, _ = client.Pipelined(ctx, func(p goredis.Pipeliner) error {
				for range min(100, b.N-n) {
					p.Publish(ctx, "orders", `{"args":["hello",{"n":1}]}`)
				}
				return nil
			})
		}
	}()
	for n := 0; n < b.N; {
		events, err := in.Next(ctx)
		if err != nil {
			b.Fatal(err)
		}
		n += len(events)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}
