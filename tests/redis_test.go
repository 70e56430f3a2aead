package tests

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/redis/redistest"
)

// Web apps and redis-cli, with the bridge and a Redis server between them.
func TestRedisEndToEnd(t *testing.T) {
	server := redistest.Start(t)
	b := startBridge(t, setup{more: redisBackend(server, `, streams: {jobs: {}}, rpc: {grace: 100ms}`)})
	a := startApp(t, theToken)

	t.Run("what redis-cli publishes", func(t *testing.T) {
		b.subscribe(t, object{
			"redis:orders":       a.view("/exact", nil),
			"redis:orders.":      object{"url": a.view("/prefix", nil), "match": "prefix", "ordered": true},
			"redis:orders..paid": object{"url": a.view("/wildcard", nil), "match": "wildcard"},
		})
		published := func(channel, message, listeners string) {
			t.Helper()
			equal(t, "listeners of "+channel, server.CLI("PUBLISH", channel, message), listeners)
		}
		published("orders", "hello", "1")
		c := a.next(t, "/exact")
		equal(t, "topic", c.Topic, "redis:orders")
		sameJSON(t, "a text", c.Args, raw([]any{"hello"}))
		published("elsewhere", "hello", "0")
		published("orders.x.open", `{"n": 9007199254740993}`, "1")
		published("orders.x.paid", `{"args": [1], "kwargs": {"n": 2}}`, "2")
		sameJSON(t, "a number", a.next(t, "/prefix").Args, json.RawMessage(`[{"n": 9007199254740993}]`))
		for _, path := range []string{"/prefix", "/wildcard"} {
			c := a.next(t, path)
			equal(t, "topic", c.Topic, "redis:orders.x.paid")
			sameJSON(t, "args", c.Args, raw([]any{1}))
			sameJSON(t, "kwargs", c.Kwargs, raw(object{"n": 2}))
		}
		for _, path := range []string{"/exact", "/prefix", "/wildcard"} {
			a.none(t, path)
		}
	})

	t.Run("what an app publishes", func(t *testing.T) {
		redis := listenOnRedis(t, server, "news.*")
		id := b.publish(t, "redis:news.today", object{"args": []any{"rain", 9007199254740993}, "kwargs": object{"n": 1}})
		m := redis.next(t)
		equal(t, "channel", m.channel, "news.today")
		var envelope struct {
			ID           string
			Args, Kwargs json.RawMessage
		}
		if err := json.Unmarshal([]byte(m.payload), &envelope); err != nil {
			t.Fatalf("message %q: %v", m.payload, err)
		}
		equal(t, "id", envelope.ID, id)
		sameJSON(t, "args", envelope.Args, json.RawMessage(`["rain", 9007199254740993]`))
		sameJSON(t, "kwargs", envelope.Kwargs, raw(object{"n": 1}))
	})

	t.Run("a stream", func(t *testing.T) {
		b.subscribe(t, object{"redis:jobs": a.view("/jobs", nil)})
		entry := server.CLI("XADD", "jobs", "*", "color", "red")
		c := a.next(t, "/jobs")
		equal(t, "id", c.ID, "jobs/"+entry)
		sameJSON(t, "fields", c.Kwargs, raw(object{"color": "red"}))
		b.publish(t, "redis:jobs", object{"args": []any{"paint it"}})
		if got := server.CLI("XREVRANGE", "jobs", "+", "-", "COUNT", "1"); !strings.Contains(got, "args\n[\"paint it\"]") {
			t.Errorf("the last entry is %s", got)
		}
		sameJSON(t, "the app's own", a.next(t, "/jobs").Args, raw([]any{"paint it"}))
	})

	t.Run("an app calls what redis-cli serves", func(t *testing.T) {
		server.CLI("SET", "rpc:server:greet", "a script", "EX", "60")
		served := serveOnRedis(server, "greet", func(r redisRequest) object {
			sameJSON(t, "request", r.Args, raw([]any{"Ann"}))
			return object{"args": []any{"hello Ann"}, "kwargs": object{"n": 1}}
		})
		result := b.call(t, "redis:greet", object{"args": []any{"Ann"}})
		sameJSON(t, "args", result.Args, raw([]any{"hello Ann"}))
		sameJSON(t, "kwargs", result.Kwargs, raw(object{"n": 1}))
		if err := <-served; err != nil {
			t.Error(err)
		}
		served = serveOnRedis(server, "greet", func(redisRequest) object {
			return object{"error": "com.shop.closed", "args": []any{"until 8"}}
		})
		refused := b.post(t, "/call/redis:greet/", object{}).want(t, http.StatusInternalServerError)
		equal(t, "error", refused.Error, "com.shop.closed")
		sameJSON(t, "args of the error", refused.Args, raw([]any{"until 8"}))
		if err := <-served; err != nil {
			t.Error(err)
		}
		b.post(t, "/call/redis:nobody/", object{}).want(t, http.StatusNotFound)
	})

	t.Run("redis-cli calls what an app serves", func(t *testing.T) {
		b.register(t, object{"redis:echo": a.view("/echo", echo), "redis:refuse": a.view("/refuse", refuse)})
		server.CLI("RPUSH", "rpc:call:echo", `{"id": "1", "args": [2, "x"], "reply_to": "rpc:reply:me"}`)
		_, answer, _ := strings.Cut(server.CLI("BLPOP", "rpc:reply:me", "20"), "\n")
		sameJSON(t, "answer", json.RawMessage(answer), json.RawMessage(`{"id": "1", "args": [2, "x"], "kwargs": {}}`))
		equal(t, "procedure", a.next(t, "/echo").Procedure, "redis:echo")
		server.CLI("RPUSH", "rpc:call:refuse", `{"id": "2", "args": [1], "reply_to": "rpc:reply:me"}`)
		_, answer, _ = strings.Cut(server.CLI("BLPOP", "rpc:reply:me", "20"), "\n")
		sameJSON(t, "answer", json.RawMessage(answer), json.RawMessage(`{"id": "2", "error": "com.example.error.refused", "args": [1], "kwargs": {}}`))
	})

	t.Run("what Redis cannot do", func(t *testing.T) {
		pattern := object{"endpoints": object{"redis:family.": object{"url": a.view("/family", nil), "match": "prefix"}}}
		b.post(t, "/register/", pattern).want(t, http.StatusNotImplemented)
	})
}
