package router

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
	nexus "github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
)

// Router is a WAMP router with a listener of its own. Its methods may be called
// concurrently.
type Router struct {
	log      *slog.Logger
	nexus    nexus.Router
	settings atomic.Pointer[settings]
	counters counters
	pools    pools
	gate     gate
	secret   []byte            // for inventing what unknown authids are asked
	nobody   ed25519.PublicKey // a key that nobody has

	warnings atomic.Int64 // logged since the last look of the watch

	connections atomic.Int64
	tasks       sync.WaitGroup // every goroutine but the listener's
	stopWatch   chan struct{}
	watched     chan struct{}

	change sync.Mutex // one Start, Reconfigure or Close at a time

	mu       sync.Mutex
	realms   map[wamp.URI]*realm
	sockets  map[*socket]struct{} // every connection, from its first byte to its last
	listener *listener            // nil before Start
	closing  bool
}

// New checks cfg, and makes a router that does not listen yet. The error names the
// key of every mistake. Who gets a Router calls Close.
func New(cfg Config, log *slog.Logger) (*Router, error) {
	st, err := newSettings(cfg)
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r := &Router{
		log: log, secret: make([]byte, 32), realms: map[wamp.URI]*realm{}, sockets: map[*socket]struct{}{},
		stopWatch: make(chan struct{}), watched: make(chan struct{}),
	}
	_, _ = rand.Read(r.secret) // never fails
	seed := sha256.Sum256(r.secret)
	r.nobody, _ = ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	r.settings.Store(st)
	var configs []*nexus.RealmConfig
	for _, name := range st.realms {
		re := r.newRealm(name)
		r.realms[name] = re
		configs = append(configs, re.config())
	}
	if r.nexus, err = nexus.NewRouter(&nexus.Config{RealmConfigs: configs}, nexusLog{log, &r.counters.eventsDropped}); err != nil {
		return nil, fmt.Errorf("make router: %w", err)
	}
	go r.watch()
	return r, nil
}

// Start listens.
func (r *Router) Start() error {
	r.change.Lock()
	defer r.change.Unlock()
	r.mu.Lock()
	closing, started := r.closing, r.listener != nil
	r.mu.Unlock()
	if closing || started {
		return core.Errorf(core.Internal, "start router: it is started or closed already")
	}
	l, err := r.listen(r.settings.Load().listen)
	if err != nil {
		return err
	}
	r.setListener(l)
	return nil
}

func (r *Router) setListener(l *listener) {
	r.mu.Lock()
	r.listener = l
	r.mu.Unlock()
	r.log.Info("router listens", slog.Any("urls", r.URLs()))
}

// URLs are where clients connect, as they would write it, with the port that was
// really taken: WebSocket first, RawSocket second. It is nil before Start.
func (r *Router) URLs() []string {
	r.mu.Lock()
	l := r.listener
	r.mu.Unlock()
	if l == nil {
		return nil
	}
	st := r.settings.Load()
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	at := net.JoinHostPort(host, port)
	if st.tls != nil {
		return []string{"wss://" + at + st.path, "rss://" + at}
	}
	return []string{"ws://" + at + st.path, "rs://" + at}
}

// Close takes no more connections, answers every call in flight with an error, says
// GOODBYE (wamp.close.system_shutdown) to every session and waits until what was
// queued for it is written. When ctx ends, what is left is cut off, and the error is
// ctx's. After Close none of the router's goroutines is left. Only the first Close
// does anything.
func (r *Router) Close(ctx context.Context) error {
	r.change.Lock()
	defer r.change.Unlock()
	r.mu.Lock()
	if r.closing {
		r.mu.Unlock()
		return nil
	}
	r.closing = true
	l := r.listener
	r.mu.Unlock()
	if l != nil {
		l.close()
	}
	realms := r.realmList()
	for _, re := range realms {
		re.close(wamp.ErrSystemShutdown, "the router is shutting down")
	}
	err := r.waitFor(ctx, realms)
	// What is left are connections that never became sessions.
	r.mu.Lock()
	for s := range r.sockets {
		s.interrupt()
	}
	r.mu.Unlock()
	r.tasks.Wait()
	close(r.stopWatch)
	<-r.watched
	r.nexus.Close()
	return err
}

// waitFor waits until realms that were closed have no sessions. When ctx ends it
// cuts them off, and returns ctx's error.
func (r *Router) waitFor(ctx context.Context, realms []*realm) error {
	empty := make(chan struct{})
	go func() {
		defer close(empty)
		for _, re := range realms {
			re.wg.Wait()
		}
	}()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	for _, re := range realms {
		re.abort("shutdown deadline passed")
	}
	<-empty
	return fmt.Errorf("close sessions: %w", ctx.Err())
}

func (r *Router) realmByName(name wamp.URI) *realm {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.realms[name]
}

func (r *Router) realmList() []*realm {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*realm, 0, len(r.realms))
	for _, re := range r.realms {
		out = append(out, re)
	}
	return out
}

// watchInterval is how often sessions are looked after.
const watchInterval = 500 * time.Millisecond

// watch looks after all sessions at intervals: it measures the pressure on
// publishers, pings peers that are silent and disconnects those that stay so.
func (r *Router) watch() {
	defer close(r.watched)
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-r.stopWatch:
			return
		case now := <-ticker.C:
			r.warnings.Store(0)
			for _, re := range r.realmList() {
				re.watch()
				for _, s := range re.list() {
					s.keepAlive(now)
				}
			}
		}
	}
}

// nexusLog passes nexus' log lines on at debug level: they are prose, and what
// matters in them is logged where it happens. The one thing that only nexus can tell
// is that it has dropped a message, which must not happen.
type nexusLog struct {
	log     *slog.Logger
	dropped *atomic.Int64
}

func (l nexusLog) enabled() bool { return l.log.Enabled(context.Background(), slog.LevelDebug) }

func (l nexusLog) Print(v ...any) {
	if l.enabled() {
		l.log.Debug("nexus", slog.String("line", fmt.Sprint(v...)))
	}
}

func (l nexusLog) Println(v ...any) {
	if l.enabled() {
		line := fmt.Sprintln(v...)
		l.log.Debug("nexus", slog.String("line", line[:len(line)-1]))
	}
}

func (l nexusLog) Printf(format string, v ...any) {
	if strings.HasPrefix(format, "!!! Dropped") {
		l.dropped.Add(1)
		l.log.Error("message dropped", slog.String("line", fmt.Sprintf(format, v...)))
	}
	if l.enabled() {
		l.log.Debug("nexus", slog.String("line", fmt.Sprintf(format, v...)))
	}
}
