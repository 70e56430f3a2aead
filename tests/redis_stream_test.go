package tests

import (
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/anybridge/anybridge/backends/redis/redistest"
)

// An entry of a Redis stream is acknowledged when the bridge has stored it: killed with
// -9 at any moment, it loses none.
func TestARedisStreamLosesNothingWithTheBridge(t *testing.T) {
	server := redistest.Start(t)
	b := startBridge(t, setup{more: fmt.Sprintf("  redis: {kind: redis, url: \"%s\", streams: {orders: {}}}\n", server.URL())})
	a := startApp(t, theToken)
	var mu sync.Mutex
	seen := map[int]bool{}
	url := a.uncounted("/orders", func(c callback) response {
		var order struct{ N string }
		if err := json.Unmarshal(c.Kwargs, &order); err != nil {
			t.Errorf("kwargs %s: %v", c.Kwargs, err)
		}
		n, _ := strconv.Atoi(order.N)
		mu.Lock()
		seen[n] = true
		mu.Unlock()
		return response{status: 204}
	})
	b.subscribe(t, object{"redis:orders": object{"url": url, "retry": []string{"100ms", "1s", "1s", "5s", "5s", "5s"}}})
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	t.Cleanup(func() { _ = client.Close() })

	const kills, each = 4, 3000
	for kill := range kills {
		pipe := client.Pipeline()
		for i := range each {
			pipe.XAdd(t.Context(), &goredis.XAddArgs{Stream: "orders", Values: []any{"n", kill*each + i}})
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "some of the batch have come", func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(seen) <= kill*each {
				return fmt.Errorf("%d of %d", len(seen), kill*each)
			}
			return nil
		})
		if err := b.process.Kill(); err != nil {
			t.Fatal(err)
		}
		b.waitExit(patience)
		b.launch(t)
		b.URL = b.serving(t)
		b.url = b.URL
		b.waitReady(t)
	}
	eventually(t, "all have come", func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(seen) < kills*each {
			return fmt.Errorf("%d of %d", len(seen), kills*each)
		}
		return nil
	})
	eventually(t, "nothing is pending in Redis", func() error {
		pending, err := client.XPending(t.Context(), "orders", "anybridge").Result()
		if err == nil && pending.Count > 0 {
			err = fmt.Errorf("%d pending", pending.Count)
		}
		return err
	})
}
