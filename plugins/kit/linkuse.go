package kit

import (
	"context"
	"errors"
	"time"

	"github.com/anybridge/anybridge/core"
)

// OpenPatience is how long a backend's Open waits for its system: a system that is away
// is no error.
const OpenPatience = 5 * time.Second

// Ready waits until the first attempt to connect has succeeded or failed, for at most
// OpenPatience, and no longer than ctx.
func (l *Link) Ready(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, OpenPatience)
	defer cancel()
	select {
	case <-l.tried:
	case <-ctx.Done():
	}
}

// Gone is closed when the connection is lost. The error is Unavailable if there is none
// to lose.
func (l *Link) Gone() (<-chan struct{}, error) {
	up, err := l.connection()
	if err != nil {
		return nil, err
	}
	return up.Done(), nil
}

func (l *Link) connection() (context.Context, error) {
	l.mu.Lock()
	up := l.up
	l.mu.Unlock()
	if up == nil {
		return nil, l.Unavailable()
	}
	return up, nil
}

// Do does something on the connection. It ends do's context with ctx, and with the
// connection. The error is Unavailable if there is no connection, it was lost meanwhile,
// or do's has no code: what a system refuses may work at another time. It is a context's
// own if ctx ended, and do's if that is a core.Error.
func (l *Link) Do(ctx context.Context, do func(context.Context) error) error {
	up, err := l.connection()
	if err != nil {
		return err
	}
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(up, cancel)()
	err = do(both)
	switch _, coded := errors.AsType[*core.Error](err); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return core.AsError(ctx.Err())
	case up.Err() != nil:
		return core.Errorf(core.Unavailable, "the connection to %s was lost", l.o.Name)
	case coded:
		return err
	}
	return core.Errorf(core.Unavailable, "%s refuses: %w", l.o.Name, err)
}

// Unavailable is the answer while there is no connection. It tells why, and when the
// next attempt is due.
func (l *Link) Unavailable() *core.Error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := core.Errorf(core.Unavailable, "not connected to %s yet", l.o.Name)
	if l.err != nil {
		e = core.Errorf(core.Unavailable, "no connection to %s: %w", l.o.Name, l.err)
	}
	e.RetryAfter = max(time.Until(l.next), l.o.FirstPause)
	return e
}

// Status is how the connection is; its counter "connections" tells how often it was
// made.
func (l *Link) Status() core.Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := core.Status{State: l.state, Counters: map[string]int64{"connections": l.times}}
	if l.err != nil {
		s.Reason = l.err.Error()
	}
	return s
}

// LostAt is when the last connection was lost, for a gap; zero before the first one was.
func (l *Link) LostAt() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lostAt
}
