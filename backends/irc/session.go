package irc

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// session is an open backend: it keeps a connection to the server and all that shall
// outlive one.
type session struct {
	log   *slog.Logger
	link  *kit.Link
	feeds kit.FeedCounts

	mu       sync.Mutex
	cfg      *Config
	closed   bool
	conn     *conn         // the registered connection, or nil while away
	changed  chan struct{} // closed and replaced when conn changes
	lostAt   time.Time     // when the last connection was heard last; zero before the first
	fold     casemapping
	subs     []*subscription
	chans    map[string]*channel      // by folded name
	procs    map[string]*registration // by command in lower case
	calls    map[*call]struct{}       // commands under way
	users    map[string]*userRate     // for the commands' rate limit
	counters map[string]int64
}

func newSession(cfg *Config, log *slog.Logger) *session {
	s := &session{
		log: log, cfg: cfg, changed: make(chan struct{}), fold: rfc1459,
		link: kit.NewLink(kit.LinkOptions{
			Name: "the IRC server", Log: log,
			FirstPause: 500 * time.Millisecond, LastPause: time.Minute, Steady: 20 * time.Second, RefusedPause: time.Minute,
		}),
		chans: map[string]*channel{}, procs: map[string]*registration{},
		calls: map[*call]struct{}{}, users: map[string]*userRate{},
		counters: map[string]int64{
			"connections_lost": 0, "lines_sent": 0, "publishes_refused": 0,
			"joins_refused": 0, "kicked": 0, "commands": 0, "commands_refused": 0, "hostile_lines": 0,
		},
	}
	s.configureChannels()
	s.link.Start(s.connect)
	return s
}

// signalChange tells those who wait that the connection has changed. s.mu is held.
func (s *session) signalChange() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// attach makes c the connection that everything uses. s.mu is held.
func (s *session) attach(c *conn) {
	s.conn = c
	s.link.Up(slog.String("server", c.cfg.Server), slog.String("nick", c.nick))
	s.refold(c.is.casemapping)
	if !s.lostAt.IsZero() {
		s.gapPrivate(s.lostAt, time.Now())
	}
	for _, ch := range s.chans {
		ch.state, ch.err, ch.retryAt, ch.fails = chanAway, nil, time.Time{}, 0
	}
	s.signalChange()
}

// detach forgets the connection, which ended for that reason, with all that waits for
// it. s.mu is held.
func (s *session) detach(c *conn, why error) {
	c.failAll(core.Errorf(core.Unavailable, "the connection to the IRC server was lost before it confirmed; the text may have been sent"))
	if s.conn != c {
		return
	}
	s.link.Lost(why)
	s.conn, s.lostAt = nil, c.heardAt()
	s.counters["connections_lost"]++
	for key, ch := range s.chans {
		if ch.state == chanJoined && ch.since.IsZero() {
			ch.since = s.lostAt
		}
		ch.setState(chanAway)
		if !ch.wanted() || ch.published && !ch.needed() {
			delete(s.chans, key)
		}
	}
	s.cancelCalls()
	s.signalChange()
}

// ready waits until ctx ends for the connection, or for the first attempt to fail, and
// for the server's word about the configured channels.
func (s *session) ready(ctx context.Context) {
	s.link.Ready(ctx)
	for {
		var wait chan struct{}
		s.mu.Lock()
		for _, ch := range s.chans {
			if s.conn != nil && ch.configured && ch.state == chanJoining {
				wait = ch.moved
			}
		}
		s.mu.Unlock()
		if wait == nil {
			return
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return
		}
	}
}

// refold follows a change of the server's case mapping. s.mu is held.
func (s *session) refold(to casemapping) {
	if to == s.fold {
		return
	}
	s.fold = to
	for _, sub := range s.subs {
		sub.folded = to.fold(sub.pattern.Name)
	}
	old := s.chans
	s.chans = make(map[string]*channel, len(old))
	for _, ch := range old {
		if key := to.fold(ch.name); s.chans[key] == nil {
			s.chans[key] = ch
		} else {
			s.chans[key].merge(ch)
		}
	}
}

// close leaves the server and ends everything.
func (s *session) close(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.drain(ctx)
	s.mu.Lock()
	c := s.conn
	if c != nil {
		s.cancelCalls()
		c.quitWith(s.cfg.QuitMessage)
	}
	s.mu.Unlock()
	if c != nil {
		select { // the server closes the connection after QUIT
		case <-c.gone:
		case <-time.After(quitPatience):
		case <-ctx.Done():
		}
	}
	s.link.Stop()
	s.mu.Lock()
	subs, procs := s.subs, s.procs
	s.subs, s.procs = nil, map[string]*registration{}
	s.cancelCalls()
	s.mu.Unlock()
	for _, sub := range subs {
		sub.End(nil)
	}
	for _, p := range procs {
		p.End(nil)
	}
}

// drain waits until calls under way are answered and what was accepted is sent.
func (s *session) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for {
		s.mu.Lock()
		idle := s.conn == nil || len(s.calls) == 0 && len(s.conn.out.jobs) == 0
		s.mu.Unlock()
		if idle {
			return
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

// drainPatience is how long Close waits for what is under way.
const drainPatience = 3 * time.Second

// quitPatience is how long the server may take to end a connection after QUIT.
const quitPatience = 2 * time.Second

// status implements Backend.Status.
func (s *session) status() core.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.link.Status()
	st.Counters["events_in"], st.Counters["events_dropped"] = s.feeds.Events.Load(), s.feeds.Dropped.Load()
	for name, n := range s.counters {
		st.Counters[name] = n
	}
	st.Counters["invocations_now"] = int64(len(s.calls))
	if c := s.conn; c != nil {
		st.Reason = s.troubles(c)
		st.Counters["lines_queued_now"] = int64(c.out.queued)
		for _, ch := range s.chans {
			if ch.state == chanJoined {
				st.Counters["channels_now"]++
			}
		}
	}
	return st
}
