package kit

import (
	"context"
	"sync"
)

// turns lets those who change the same thing do so one after the other. Unlike a mutex it
// may be held while waiting for the network: who waits for a turn gives up with its
// context. The zero value is ready.
type turns struct {
	mu     sync.Mutex
	queues map[string]*queue
}

type queue struct {
	turn  chan struct{} // has one place, for whose turn it is
	users int
}

// take runs do when it is the caller's turn for the key.
func (t *turns) take(ctx context.Context, key string, do func() error) error {
	t.mu.Lock()
	if t.queues == nil {
		t.queues = map[string]*queue{}
	}
	q := t.queues[key]
	if q == nil {
		q = &queue{turn: make(chan struct{}, 1)}
		t.queues[key] = q
	}
	q.users++
	t.mu.Unlock()
	defer t.left(key, q)
	select {
	case q.turn <- struct{}{}:
		defer func() { <-q.turn }()
		return do()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *turns) left(key string, q *queue) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if q.users--; q.users == 0 {
		delete(t.queues, key)
	}
}
