package session

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
)

// binding is what a session keeps across connections: a subscription or a
// registration.
type binding interface {
	key() bindingKey
	// establish makes the binding on c. It does nothing when it is made already, or
	// has been closed meanwhile.
	establish(ctx context.Context, c *conn) error
	// end ends the binding's stream: the session is closed.
	end()
	// closing is closed when the stream's Close has begun, gone when it is done and
	// the pattern may be bound again.
	closing() <-chan struct{}
	gone() <-chan struct{}
}

// bindingKey tells bindings apart.
type bindingKey struct {
	what    string // "subscription" or "registration"
	pattern core.Pattern
}

func (k bindingKey) String() string { return k.what + " of " + k.pattern.Name }

// bind establishes a binding and keeps it. It waits for an earlier one of the same
// pattern that is being closed.
func (s *Session) bind(ctx context.Context, b binding) error {
	if err := s.reserve(ctx, b); err != nil {
		return err
	}
	defer func() {
		s.mu.Lock()
		delete(s.reserved, b.key())
		s.mu.Unlock()
	}()
	c, err := s.conn()
	if err != nil {
		return err
	}
	if err := b.establish(ctx, c); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.Load() != c || s.closed.Load() {
		return s.unavailableLocked(core.Errorf(core.Unavailable, "the connection was lost"))
	}
	s.bindings[b.key()] = b
	return nil
}

// reserve makes sure that nobody else binds the same pattern.
func (s *Session) reserve(ctx context.Context, b binding) error {
	for {
		s.mu.Lock()
		earlier := s.bindings[b.key()]
		_, taken := s.reserved[b.key()]
		if earlier == nil && !taken {
			s.reserved[b.key()] = struct{}{}
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		exists := core.Errorf(core.AlreadyExists, "there is a %s already", b.key())
		if taken {
			return exists
		}
		select {
		case <-earlier.closing():
		default:
			return exists
		}
		select {
		case <-earlier.gone():
		case <-ctx.Done():
			return core.AsError(ctx.Err())
		}
	}
}

// unbind forgets a binding that has been closed.
func (s *Session) unbind(b binding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bindings[b.key()] == b {
		delete(s.bindings, b.key())
		delete(s.missing, b.key())
	}
}

// boundLocked lists the bindings. s.mu is held.
func (s *Session) boundLocked() []binding {
	all := make([]binding, 0, len(s.bindings))
	for _, b := range s.bindings {
		all = append(all, b)
	}
	return all
}

// maxRestores is how many bindings are restored at a time.
const maxRestores = 64

// restore establishes bindings on a fresh connection. What is refused is tried
// again with growing pauses for as long as the connection lives: after a lost
// connection, the router may hold our old session, and with it our procedures, for
// a while.
func (s *Session) restore(ctx context.Context, c *conn, todo []binding) {
	for delay := s.o.FirstDelay; ; delay = min(2*delay, s.o.LastDelay) {
		todo = s.restoreRound(ctx, c, todo)
		if len(todo) == 0 || ctx.Err() != nil {
			return
		}
		select {
		case <-time.After(jitter(delay)):
		case <-ctx.Done():
			return
		}
	}
}

// restoreRound tries each binding once and returns those that failed.
func (s *Session) restoreRound(ctx context.Context, c *conn, todo []binding) []binding {
	var (
		mu     sync.Mutex
		failed []binding
		slots  = make(chan struct{}, maxRestores)
		wg     sync.WaitGroup
	)
	for _, b := range todo {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			attempt, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			err := b.establish(attempt, c)
			s.mu.Lock()
			if err == nil || s.bindings[b.key()] != b {
				delete(s.missing, b.key())
				err = nil
			} else if ctx.Err() == nil {
				s.missing[b.key()] = err
			}
			s.mu.Unlock()
			if err != nil {
				mu.Lock()
				failed = append(failed, b)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed
}

// missingReason names what could not be restored. s.mu is held.
func (s *Session) missingReason() string {
	for key, err := range s.missing {
		text := fmt.Sprintf("%s not restored: %v", key, err)
		if n := len(s.missing) - 1; n > 0 {
			text += fmt.Sprintf(" (and %d more)", n)
		}
		return text
	}
	return ""
}
