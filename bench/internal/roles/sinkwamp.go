package roles

import (
	"context"
	"flag"

	"github.com/anybridge/anybridge/bench/internal/lean"
)

// startWAMPSink is one WAMP subscriber.
func startWAMPSink(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	url := flags.String("url", "", "")
	realm := flags.String("realm", "realm1", "")
	topic := flags.String("topic", "", "")
	serializer := flags.String("serializer", "json", "json or msgpack")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	codec, err := lean.CodecNamed(*serializer)
	if err != nil {
		return nil, err
	}
	session, err := lean.Join(ctx, *url, *realm, codec, 64<<10)
	if err != nil {
		return nil, err
	}
	if err := session.Subscribe(*topic); err != nil {
		session.Close()
		return nil, err
	}
	s := newSink()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			event, err := session.Read()
			if err != nil {
				return
			}
			s.record(event)
		}
	}()
	return &role{do: s.drain, close: func() { session.Close(); <-done }}, nil
}
