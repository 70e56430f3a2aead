package kit

import (
	"context"
	"strconv"
	"sync"
)

// Pending are the requests that wait for an answer, on a system that tells answers apart
// by an id which comes back. The zero value is ready; all methods may be called
// concurrently.
type Pending[A any] struct {
	mu      sync.Mutex
	last    int
	waiting map[string]chan A
}

// Ask sends a request on the connection, under an id that is never used again, and waits
// for its answer until ctx or the connection ends. The error is that of Link.Do.
func (p *Pending[A]) Ask(ctx context.Context, on *Link, send func(ctx context.Context, id string) error) (answer A, err error) {
	c := make(chan A, 1)
	id := p.add(c)
	defer p.forget(id)
	err = on.Do(ctx, func(ctx context.Context) error {
		if err := send(ctx, id); err != nil {
			return err
		}
		select {
		case answer = <-c:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return answer, err
}

func (p *Pending[A]) add(c chan A) (id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting = map[string]chan A{}
	}
	p.last++
	id = strconv.Itoa(p.last)
	p.waiting[id] = c
	return id
}

func (p *Pending[A]) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, id)
}

// Answer hands an answer to who waits for it, without waiting, and reports whether
// anybody does. Only the first one counts.
func (p *Pending[A]) Answer(id string, a A) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.waiting[id]
	if ok {
		delete(p.waiting, id)
		c <- a // which has room for one
	}
	return ok
}
