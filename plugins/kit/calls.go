package kit

import (
	"context"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Calls is the stream of a registration, in which no caller is left without an answer. It
// implements core.Stream. All methods may be called concurrently.
type Calls struct {
	pipe *core.Pipe[*core.Invocation]

	mu    sync.Mutex
	ended string                    // why, once it is
	open  map[*core.Invocation]bool // not answered; true: handed out by Next
}

// NewCalls makes the stream of a registration for at most maxCalls that wait, of at most
// maxBytes together (0 = no such bound). onClose, if not nil, is called once, by Close,
// and unregisters.
func NewCalls(maxCalls, maxBytes int, onClose func()) *Calls {
	return &Calls{pipe: core.NewPipe[*core.Invocation](maxCalls, maxBytes, onClose), open: map[*core.Invocation]bool{}}
}

// Put appends an invocation without waiting. Its Reply sends the answer, and must not
// wait for the network; Put sees to it that it is called once. An invocation that finds
// no room is answered with TooMany.
func (c *Calls) Put(inv *core.Invocation) {
	var once sync.Once
	send := inv.Reply
	inv.Reply = func(r *core.Result, err error) {
		once.Do(func() {
			c.mu.Lock()
			delete(c.open, inv)
			c.mu.Unlock()
			send(r, err)
		})
	}
	c.mu.Lock()
	c.open[inv] = false
	ended := c.ended
	put := ended == "" && c.pipe.TryPut(inv, eventOverhead+len(inv.Procedure.Name)+inv.Size()+len(inv.Details))
	c.mu.Unlock()
	switch {
	case put:
	case ended != "":
		inv.Reply(nil, core.Errorf(core.Unavailable, "%s", ended))
	default:
		err := core.Errorf(core.TooMany, "too many calls of %s are waiting", inv.Procedure)
		err.RetryAfter = time.Second
		inv.Reply(nil, err)
	}
}

// Next implements core.Stream.
func (c *Calls) Next(ctx context.Context) ([]*core.Invocation, error) {
	batch, err := c.pipe.Next(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, inv := range batch {
		if _, open := c.open[inv]; open {
			c.open[inv] = true
		}
	}
	return batch, err
}

// Close implements core.Stream: it unregisters, and answers what nobody has taken with
// Unavailable. What was taken can still be answered.
func (c *Calls) Close() error {
	c.refuse(false, "the procedure is not registered any more")
	return c.pipe.Close()
}

// End ends the stream from the backend's side, and answers every call that is open with
// Unavailable, also those that were taken.
func (c *Calls) End() {
	c.refuse(true, "the backend is closing")
	c.pipe.End(nil)
}

func (c *Calls) refuse(all bool, why string) {
	var open []*core.Invocation
	c.mu.Lock()
	c.ended = why
	for inv, was := range c.open {
		if all || !was {
			open = append(open, inv)
		}
	}
	c.mu.Unlock()
	for _, inv := range open {
		inv.Reply(nil, core.Errorf(core.Unavailable, "%s", why))
	}
}

// Open is how many calls are not answered yet, for Status.
func (c *Calls) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}
