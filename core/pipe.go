package core

import (
	"context"
	"io"
	"sync"
)

// Pipe is the bounded queue that stands behind most streams: producers put values
// in without touching the network, one consumer takes them out in batches. It
// implements Stream.
type Pipe[T any] struct {
	maxItems int
	maxBytes int
	onClose  func()

	mu    sync.Mutex
	items []T // what Next will hand out
	spare []T // the batch handed out last, to be reused
	bytes int
	err   error // why it ended; nil while it is open
	wake  chan struct{}
	room  chan struct{}
}

// maxSpare is the largest batch, in values, whose memory is kept for reuse.
const maxSpare = 4096

// NewPipe makes a pipe for at most maxItems values of at most maxBytes together
// (0 = no such bound; one value always fits into an empty pipe). onClose, if not
// nil, is called once, by Close.
func NewPipe[T any](maxItems, maxBytes int, onClose func()) *Pipe[T] {
	return &Pipe[T]{maxItems: maxItems, maxBytes: maxBytes, onClose: onClose, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// TryPut appends v, which counts as size bytes, and reports whether there was
// room. It never blocks.
func (p *Pipe[T]) TryPut(v T, size int) bool {
	p.mu.Lock()
	ok := p.err == nil && p.fits(size)
	if ok {
		p.items = append(p.items, v)
		p.bytes += size
	}
	p.mu.Unlock()
	if ok {
		signal(p.wake)
	}
	return ok
}

// Put appends v and waits for room until ctx ends. It returns the pipe's end as an
// error. Several goroutines may wait at once.
func (p *Pipe[T]) Put(ctx context.Context, v T, size int) error {
	for {
		p.mu.Lock()
		if p.err != nil {
			err := p.err
			p.mu.Unlock()
			signal(p.room) // pass the news on to the next one who waits
			return err
		}
		if p.fits(size) {
			p.items = append(p.items, v)
			p.bytes += size
			more := p.fits(1)
			p.mu.Unlock()
			signal(p.wake)
			if more {
				signal(p.room)
			}
			return nil
		}
		p.mu.Unlock()
		select {
		case <-p.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *Pipe[T]) fits(size int) bool {
	if len(p.items) == 0 {
		return true
	}
	return (p.maxItems == 0 || len(p.items) < p.maxItems) && (p.maxBytes == 0 || p.bytes+size <= p.maxBytes)
}

// Len is the number of values waiting.
func (p *Pipe[T]) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.items)
}

// Next implements Stream: it returns everything that waits.
func (p *Pipe[T]) Next(ctx context.Context) ([]T, error) {
	for {
		p.mu.Lock()
		if len(p.items) > 0 {
			batch := p.items
			if cap(p.spare) > maxSpare {
				p.spare = nil // a burst is over: give its memory back
			}
			clear(p.spare[:cap(p.spare)]) // release what the last batch referred to
			p.items, p.spare, p.bytes = p.spare[:0], batch, 0
			p.mu.Unlock()
			signal(p.room)
			return batch, nil
		}
		err := p.err
		p.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// End closes the pipe from the producer's side: what waits can still be taken,
// then Next returns err, or io.EOF if err is nil. Only the first end counts.
func (p *Pipe[T]) End(err error) {
	if err == nil {
		err = io.EOF
	}
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.mu.Unlock()
	signal(p.wake)
	signal(p.room)
}

// Close implements Stream, for the consumer's side: it drops what waits.
func (p *Pipe[T]) Close() error {
	p.mu.Lock()
	first := p.err == nil
	if first {
		p.err = io.EOF
	}
	p.items, p.bytes = nil, 0
	onClose := p.onClose
	p.onClose = nil
	p.mu.Unlock()
	signal(p.wake)
	signal(p.room)
	if onClose != nil {
		onClose()
	}
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
