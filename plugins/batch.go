package plugins

import (
	"context"
	"errors"
	"io"
	"runtime"

	"github.com/anybridge/anybridge/core"
)

// How much goes into one batch. It bounds the latency that the last entry adds to
// the first, and lets both sides work at the same time.
const (
	batchItems = 256
	batchBytes = mib
)

// outboxBytes bounds what waits to be sent on one stream; whoever adds more waits.
// Entries of size 0 (cancellations, credit, replies to feeds) always fit: their
// number is bounded by what they refer to.
const outboxBytes = 32 * mib

// batch is a message of one stream under construction, used again after each
// send.
type batch[T any] interface {
	// add appends an entry and returns its size.
	add(entry T) int
	// send sends the message and empties it.
	send() error
}

// pump is the one sender of a stream: it takes everything that waits and sends it
// in as few messages as the bounds allow. It returns nil when the outbox was ended
// and all has been sent.
func pump[T any](ctx context.Context, outbox *core.Pipe[T], b batch[T]) error {
	for {
		// Those who were just woken by replies queue their next entries first: this
		// doubles the throughput when the processors are busy and costs nothing
		// when they are not.
		runtime.Gosched()
		entries, err := outbox.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		items, bytes := 0, 0
		for _, e := range entries {
			items++
			bytes += b.add(e)
			if items >= batchItems || bytes >= batchBytes {
				if err := b.send(); err != nil {
					return err
				}
				items, bytes = 0, 0
			}
		}
		if items > 0 {
			if err := b.send(); err != nil {
				return err
			}
		}
	}
}

// slab hands out messages that are used again after each batch.
type slab[M any, P interface {
	*M
	Reset()
}] struct {
	made []*M
	used int
}

func (s *slab[M, P]) next() *M {
	if s.used == len(s.made) {
		s.made = append(s.made, new(M))
	}
	s.used++
	return s.made[s.used-1]
}

// batch returns what was handed out since the last reset.
func (s *slab[M, P]) batch() []*M { return s.made[:s.used] }

// reset takes everything back and lets go of what the messages referred to.
func (s *slab[M, P]) reset() {
	for _, m := range s.batch() {
		P(m).Reset()
	}
	s.used = 0
}
