package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Reading says what Read reads.
type Reading struct {
	Stream     string
	Subject    string // may hold wildcards
	From       uint64 // the first sequence number; 0: from the beginning
	HeaderOnly bool
	Each       func(*Msg) // in order; may block, which holds the reading up
	CaughtUp   func()     // called once, when everything that was there at the start has been read
}

// pullMessages and pullBytes bound what is read ahead.
const (
	pullMessages = 256
	pullBytes    = 32 << 20
)

// A server that holds a consumer and says nothing for twice readBeat is gone: the
// reading goes on with another consumer.
const (
	readBeat   = time.Second
	readExpiry = 10 * time.Second
	// lookPause is the pause between looks at what there is to catch up with.
	lookPause = 100 * time.Millisecond
	// createTime bounds the making of a consumer: a cluster may choose a node that
	// has just died.
	createTime = 3 * time.Second
)

// What ends a reading with one consumer.
var (
	errGap    = errors.New("messages were lost on the way")
	errSilent = errors.New("there is more, but it does not come")
)

// Read reads until ctx ends and returns its error. It goes on after losses of the
// connection, or of a node of the cluster, where it was.
func (s *Store) Read(ctx context.Context, r Reading) error {
	reader := &reader{s: s, r: r, next: max(1, r.From), behind: r.CaughtUp != nil}
	for ctx.Err() == nil {
		err := reader.read(ctx)
		if ctx.Err() != nil {
			break
		}
		s.c.Log.Warn("engine: reading starts again", slog.String("stream", r.Stream), slog.Any("error", err))
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

type reader struct {
	s      *Store
	r      Reading
	next   uint64 // sequence number that has not been read
	behind bool   // CaughtUp has not been called
	end    uint64 // of what was there at the start; 0: not looked up yet
}

// read reads with one consumer. It has no state on the server that would be missed:
// the next one begins where this one ends.
func (x *reader) read(ctx context.Context) error {
	if err := x.look(ctx); err != nil {
		return err
	}
	creating, cancel := context.WithTimeout(ctx, createTime)
	defer cancel()
	cons, err := x.s.streams[x.r.Stream].CreateConsumer(creating, jetstream.ConsumerConfig{
		FilterSubject: x.r.Subject, HeadersOnly: x.r.HeaderOnly,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: x.next,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second,
	})
	if err != nil {
		return err
	}
	defer x.s.dropConsumer(x.r.Stream, cons.CachedInfo().Name)
	iter, err := cons.Messages(
		jetstream.PullMaxMessagesWithBytesLimit(pullMessages, pullBytes),
		jetstream.PullExpiry(readExpiry), jetstream.PullHeartbeat(readBeat), jetstream.WithMessagesErrOnMissingHeartbeat(true),
	)
	if err != nil {
		return err
	}
	defer iter.Stop()
	defer context.AfterFunc(ctx, iter.Stop)()
	for count := uint64(1); ; count++ {
		m, err := x.message(ctx, iter)
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != count {
			return errGap
		}
		x.r.Each(&Msg{Subject: m.Subject(), Seq: meta.Sequence.Stream, Time: meta.Timestamp, Header: m.Headers(), Data: m.Data()})
		x.next = meta.Sequence.Stream + 1
		if x.behind && x.next > x.end {
			x.caughtUp()
		}
	}
}

// message waits for the next message, and looks after CaughtUp meanwhile.
func (x *reader) message(ctx context.Context, iter jetstream.MessagesContext) (jetstream.Msg, error) {
	for since := time.Now(); x.behind; {
		m, err := iter.Next(jetstream.NextMaxWait(lookPause))
		if !errors.Is(err, nats.ErrTimeout) {
			return m, err
		}
		if err := x.look(ctx); err != nil {
			return nil, err
		}
		if x.behind && time.Since(since) > createTime {
			return nil, errSilent
		}
	}
	return iter.Next()
}

// look calls CaughtUp when nothing is there that has not been read. A consumer's
// own word is not enough: its node may be behind the others.
func (x *reader) look(ctx context.Context) error {
	if !x.behind {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, createTime)
	defer cancel()
	last, err := x.s.Last(ctx, x.r.Stream, x.r.Subject)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err != nil || last.Seq < x.next {
		x.caughtUp()
	} else if x.end == 0 {
		x.end = last.Seq // more may come without a pause
	}
	return nil
}

func (x *reader) caughtUp() {
	x.behind = false
	x.r.CaughtUp()
}

// dropConsumer removes a consumer that is not needed any more; the server would do
// so by itself after a while.
func (s *Store) dropConsumer(stream, name string) {
	s.request(&nats.Msg{Subject: "$JS.API.CONSUMER.DELETE." + s.name(stream) + "." + name}, func(*nats.Msg, error) {})
}
