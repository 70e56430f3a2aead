package roles

import (
	"context"
	"flag"

	"github.com/anybridge/anybridge/bench/internal/lean"
)

// startRedisSink is one subscriber of a Redis channel.
func startRedisSink(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	addr := flags.String("addr", "", "host:port")
	channel := flags.String("channel", "", "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	conn, err := lean.SubscribeRedis(ctx, *addr, *channel)
	if err != nil {
		return nil, err
	}
	s := newSink()
	feedback, err := serveCount(ctx, s)
	if err != nil {
		conn.Close()
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			message, err := conn.Read()
			if err != nil {
				return
			}
			s.record(message)
		}
	}()
	return &role{
		ready: Ready{Feedback: feedback.ready.Addr},
		do:    s.drain,
		close: func() { conn.Close(); <-done; feedback.close() },
	}, nil
}
