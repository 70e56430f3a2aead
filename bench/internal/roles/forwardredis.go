package roles

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/redis/go-redis/v9"
)

// startRedisForwarder is the floor of publishing to Redis: a server that reads JSON,
// publishes it with go-redis and answers JSON.
func startRedisForwarder(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	addr := flags.String("addr", "", "host:port")
	channel := flags.String("channel", "", "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	c := redis.NewClient(&redis.Options{Addr: *addr})
	web, err := serveHTTP(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var p payload
		if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		message, err := json.Marshal(p)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		n, err := c.Publish(r.Context(), *channel, message).Result()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		writeJSON(w, map[string]int64{"received": n})
	}))
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return &role{ready: web.ready, close: func() { web.close(); _ = c.Close() }}, nil
}

// startRedisLoop is the floor of a route from WAMP to Redis: nexus' client subscribes
// to the topic and publishes each event with go-redis. Either it awaits each one, or it
// sends what has come meanwhile in one pipeline.
func startRedisLoop(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	url := flags.String("url", "", "")
	realm := flags.String("realm", "realm1", "")
	topic := flags.String("topic", "", "")
	addr := flags.String("addr", "", "host:port of Redis")
	channel := flags.String("channel", "", "")
	pipeline := flags.Bool("pipeline", false, "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	r := redis.NewClient(&redis.Options{Addr: *addr})
	c, err := client.ConnectNet(ctx, *url, client.Config{Realm: *realm, Logger: quiet{}})
	if err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	l := redisLoop{redis: r, channel: *channel, messages: make(chan []byte, 64<<10)}
	handle, done := l.publish, make(chan struct{})
	if *pipeline {
		handle = l.queue
		go func() { defer close(done); l.pipeline(ctx) }()
	} else {
		close(done)
	}
	closeAll := func() { _ = c.Close(); close(l.messages); <-done; _ = r.Close() }
	err = c.Subscribe(*topic, func(e *wamp.Event) {
		message, err := json.Marshal(payload{Args: e.Arguments, Kwargs: e.ArgumentsKw})
		if err == nil {
			err = handle(ctx, message)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "loop:", err) // the event is missing at the sink
		}
	}, nil)
	if err != nil {
		closeAll()
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return &role{close: closeAll}, nil
}

type redisLoop struct {
	redis    *redis.Client
	channel  string
	messages chan []byte
}

func (l redisLoop) publish(ctx context.Context, message []byte) error {
	return l.redis.Publish(ctx, l.channel, message).Err()
}

func (l redisLoop) queue(ctx context.Context, message []byte) error {
	select {
	case l.messages <- message:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l redisLoop) pipeline(ctx context.Context) {
	for message := range l.messages {
		p := l.redis.Pipeline()
		p.Publish(ctx, l.channel, message)
		for range len(l.messages) { // nobody else takes from it
			p.Publish(ctx, l.channel, <-l.messages)
		}
		if _, err := p.Exec(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "loop:", err)
		}
	}
}
