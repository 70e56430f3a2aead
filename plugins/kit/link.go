package kit

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Link keeps a connection to a system: Keep makes it again and again, and everybody else
// asks the Link how it is and works on it with Do. Methods may be called concurrently
// unless they say otherwise.
type Link struct {
	o LinkOptions

	mu     sync.Mutex
	tried  chan struct{} // closed after the first attempt
	state  core.State
	err    error              // why it is not up; nil while it is, and before the first attempt
	up     context.Context    //nolint:containedctx // ends with the connection; nil while there is none
	down   context.CancelFunc // ends up
	next   time.Time          // of the next attempt; zero while it is up, and before the first
	upAt   time.Time          // when it came up last
	lostAt time.Time          // when it was lost last
	times  int64              // how often it came up

	stop context.CancelFunc // ends Start's goroutine, which closes done
	done chan struct{}
}

// LinkOptions are those of a Link; a zero field takes its default.
type LinkOptions struct {
	Name string       // what is connected, for the log and for errors: "the MQTT server"
	Log  *slog.Logger // nothing is logged without one

	// The pauses between attempts begin with FirstPause (100ms), double up to LastPause
	// (5s), and vary at random by a half. A connection that has lasted for Steady (5s)
	// begins with the first one again.
	FirstPause, LastPause, Steady time.Duration
	// RefusedPause is added to the pause after a refusal, see Keep: systems may ban who asks
	// too often.
	RefusedPause time.Duration
}

// NewLink makes a link that is not kept yet.
func NewLink(o LinkOptions) *Link {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{{&o.FirstPause, 100 * time.Millisecond}, {&o.LastPause, 5 * time.Second}, {&o.Steady, 5 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	return &Link{o: o, state: core.Connecting, tried: make(chan struct{})}
}

// Keep runs session again and again until ctx ends, and returns when the last one has. A
// session connects, calls Up when everything on the connection is ready, serves it, and
// returns why it is over, soon when its ctx ends. If that is a core.Error with the code
// Forbidden or Unauthenticated, the system refuses us, and the state is core.Down rather
// than core.Connecting: somebody has to change something.
func (l *Link) Keep(ctx context.Context, session func(context.Context) error) {
	for pause := l.o.FirstPause; ; pause = min(2*pause, l.o.LastPause) {
		began := time.Now()
		err := session(ctx)
		if ctx.Err() != nil {
			l.close()
			return
		}
		if err == nil {
			err = errors.New("the connection ended")
		}
		if upAt := l.cameUp(); upAt.After(began) && time.Since(upAt) >= l.o.Steady {
			pause = l.o.FirstPause
		}
		wait := pause/2 + rand.N(pause) //nolint:gosec // spreads load, protects nothing
		if refused(err) {
			wait += l.o.RefusedPause
		}
		l.failed(err, wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			l.close()
			return
		}
	}
}

// Start keeps the link on a goroutine of its own until Stop; see Keep. It is called once,
// before Stop.
func (l *Link) Start(session func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	l.stop, l.done = stop, make(chan struct{})
	go func() {
		defer close(l.done)
		l.Keep(ctx, session)
	}()
}

// Stop ends what Start has begun, and waits for it.
func (l *Link) Stop() {
	if l.stop != nil {
		l.stop()
		<-l.done
	}
}

func refused(err error) bool {
	code := core.CodeOf(err)
	return code == core.Forbidden || code == core.Unauthenticated
}

// Up says that the connection is ready. The attributes, for the log, say where it leads.
func (l *Link) Up(attrs ...slog.Attr) {
	l.mu.Lock()
	l.state, l.err, l.next, l.upAt = core.Up, nil, time.Time{}, time.Now()
	if l.up == nil {
		l.up, l.down = context.WithCancel(context.Background())
	}
	l.times++
	again := l.times > 1
	l.firstLocked()
	l.mu.Unlock()
	attrs = append(attrs, slog.String("to", l.o.Name), slog.Bool("again", again))
	l.o.Log.LogAttrs(context.Background(), slog.LevelInfo, "connected", attrs...)
}

// Lost says that the connection is gone before its session has returned, if that takes
// longer: requests are refused from now on.
func (l *Link) Lost(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lostLocked(err)
}

func (l *Link) lostLocked(err error) {
	l.state, l.err = core.Connecting, err
	if refused(err) {
		l.state = core.Down
	}
	if l.up != nil {
		l.down()
		l.up, l.lostAt = nil, time.Now()
	}
}

// close says that the link is not kept any more.
func (l *Link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lostLocked(core.Errorf(core.Unavailable, "closed"))
	l.state = core.Down
	l.firstLocked()
}

func (l *Link) cameUp() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.upAt
}

// failed notes the end of a session, and says so if that is news.
func (l *Link) failed(err error, wait time.Duration) {
	l.mu.Lock()
	news := l.next.IsZero() || l.err.Error() != err.Error()
	l.lostLocked(err)
	l.next = time.Now().Add(wait)
	l.firstLocked()
	l.mu.Unlock()
	if news {
		l.o.Log.Warn("not connected: trying again", slog.String("to", l.o.Name), slog.Any("error", err))
	}
}

func (l *Link) firstLocked() {
	select {
	case <-l.tried:
	default:
		close(l.tried)
	}
}
