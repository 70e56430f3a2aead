package roles

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/anybridge/anybridge/bench/internal/lean"
)

// startPublishLoad publishes from many WAMP sessions. A publication is
// acknowledged long before its event has arrived behind the bridge, so the loop
// is closed by the sink: it streams how many events it has got, and at most as
// many are on their way as there are sessions. Without that the load would
// measure how fast a queue grows. Without a sink that is what it does: as many
// publications are on their way as there are sessions, each until it is acknowledged.
func startPublishLoad(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	url := flags.String("url", "", "")
	realm := flags.String("realm", "realm1", "")
	topic := flags.String("topic", "", "")
	feedback := flags.String("feedback", "", "host:port of the sink's count; empty: publish as fast as the router takes it")
	conns := flags.Int("conns", 64, "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	codec, err := lean.CodecNamed("json")
	if err != nil {
		return nil, err
	}
	l := loop{conns: *conns}
	var tokens chan struct{}
	l.connect = func(int) (worker, error) {
		s, err := lean.Join(ctx, *url, *realm, codec, 4096)
		if err != nil {
			return nil, err
		}
		return &publisher{Session: s, topic: *topic, tokens: tokens}, nil
	}
	if *feedback == "" {
		return l.role(), nil
	}
	tokens = make(chan struct{}, *conns)
	for range *conns {
		tokens <- struct{}{}
	}
	var d net.Dialer
	counts, err := d.DialContext(ctx, "tcp", *feedback)
	if err != nil {
		return nil, fmt.Errorf("dial the sink: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		followCount(counts, tokens)
	}()
	return &role{do: l.run, close: func() { counts.Close(); <-done }}, nil
}

// followCount returns one token for each event that the sink has counted.
func followCount(r io.Reader, tokens chan<- struct{}) {
	var last uint64
	var b [8]byte
	for {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return
		}
		count := binary.BigEndian.Uint64(b[:])
		for ; last < count; last++ {
			select {
			case tokens <- struct{}{}:
			default: // an event that was delivered twice
			}
		}
	}
}

type publisher struct {
	*lean.Session
	topic  string
	tokens <-chan struct{} // nil: nobody says how many may be on their way
	buf    []byte
}

func (p *publisher) do() error {
	if p.tokens != nil {
		select {
		case <-p.tokens:
		case <-time.After(5 * time.Second):
			return fmt.Errorf("no event has arrived for 5 s")
		}
	}
	p.buf = append(p.buf[:0], "[16,"...)
	p.buf = strconv.AppendUint(p.buf, p.NextID(), 10)
	p.buf = append(p.buf, `,{"acknowledge":true},"`...)
	p.buf = append(p.buf, p.topic...)
	p.buf = append(p.buf, `",["`...)
	p.buf = appendStamp(p.buf, time.Now())
	p.buf = append(p.buf, `"]]`...)
	if err := p.Send(lean.OpText, p.buf); err != nil {
		return err
	}
	answer, err := p.Read()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(answer, []byte("[17,")) {
		return fmt.Errorf("answered %s, want PUBLISHED", answer)
	}
	return nil
}
