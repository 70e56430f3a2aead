package router

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
	"github.com/gammazero/nexus/v3/wamp"
)

// linger is how long a connection stays open, after the last message was written,
// for the peer to close it.
const linger = 500 * time.Millisecond

// maxWarnings is how many warnings that a client can cause at will are logged in each
// interval of the watch; all are counted.
const maxWarnings = 10

// cause says why a session failed.
type cause uint8

const (
	causeNone   cause = iota
	causeLost         // the connection broke, or the peer closed it
	causeSlow         // it did not take what was sent to it
	causeSilent       // it did not answer pings
)

// session is one peer: the wamp.Peer that nexus knows, with everything between it
// and the transport. link is nil for a Local.
type session struct {
	router *Router
	realm  *realm // set before nexus knows of the session
	link   link
	client client
	limits Limits
	box    *mailbox

	sid   atomic.Uint64 // the session id; 0 until WELCOME
	who   atomic.Pointer[identity]
	offer offer // how it is to authenticate; set before nexus knows of it
	// ticket is the SHA-256 of the ticket presented, if that was the method; set
	// before who.
	ticket [32]byte
	local  bool // the peer is on this machine

	pinged time.Time // by the watch only

	anonymousID string // the authid of an anonymous session; set before WELCOME

	// in carries messages to nexus. Whoever holds inMu may send on it or close it.
	in       chan wamp.Message
	inMu     sync.Mutex
	inClosed bool

	done     chan struct{} // closed when nothing more goes to nexus
	doneOnce sync.Once
	written  chan struct{} // closed when the writer is through
	cause    atomic.Int32
	reason   atomic.Pointer[string]

	// nexus holds the session while AttachClient runs, and until it calls Close.
	holds    atomic.Int32
	closed   atomic.Bool
	released chan struct{} // closed when nexus holds it no more

	injectMu sync.Mutex
	injected []wamp.Message // waiting for the goroutine that injects; nil if none runs

	// What follows is guarded by box.mu.
	welcome *wamp.Welcome
	strain  strain
	calls   calls
	subs    holdings
	regs    holdings
	sync    syncRequest
}

// newSession makes a session with its mailbox. It has no realm yet.
func (r *Router) newSession(l link, limits Limits) *session {
	s := &session{
		router: r, link: l, limits: limits,
		box:  newMailbox(limits.QueueMessages, limits.QueueBytes),
		in:   make(chan wamp.Message, 4),
		done: make(chan struct{}), written: make(chan struct{}), released: make(chan struct{}),
	}
	s.box.sort = s.outgoing
	s.box.changed = func(int) {}
	return s
}

// IsLocal is true for every session: nexus then makes a copy of an event's details
// for each subscriber instead of sharing a map that it still writes to. Realms are
// configured so that nothing else follows from it.
func (s *session) IsLocal() bool { return true }

// Recv returns what the client sends. It is closed when the client is gone.
func (s *session) Recv() <-chan wamp.Message { return s.in }

// Send returns the channel for one message to the client. nexus calls it for each
// message, so that there is room in it by then. It is never closed.
func (s *session) Send() chan<- wamp.Message {
	return s.box.send()
}

// Close is called by nexus when it is through with the session. What was sent before
// is still written.
func (s *session) Close() {
	if s.closed.Swap(true) {
		return
	}
	s.finish()
	s.unhold()
}

func (s *session) unhold() {
	if s.holds.Add(-1) == 0 {
		close(s.released)
	}
}

// attach hands the session to nexus, which authenticates it and answers with WELCOME
// or ABORT. It returns when that is done.
func (s *session) attach(details wamp.Dict) {
	s.holds.Store(2)
	if err := s.router.nexus.AttachClient(s, details); err != nil {
		s.Close()
	}
	s.unhold()
}

// forward hands a message to nexus. It returns false if the session is over.
func (s *session) forward(m wamp.Message) bool {
	s.inMu.Lock()
	defer s.inMu.Unlock()
	if s.inClosed {
		return false
	}
	select {
	case s.in <- m:
		return true
	case <-s.done:
		return false
	}
}

// inject hands a message to nexus in the name of the client, without waiting for it:
// nexus' own goroutines, which must not wait for each other, get here.
func (s *session) inject(m wamp.Message) {
	s.injectMu.Lock()
	running := s.injected != nil
	s.injected = append(s.injected, m)
	s.injectMu.Unlock()
	if running {
		return
	}
	s.router.tasks.Go(func() {
		for {
			s.injectMu.Lock()
			if len(s.injected) == 0 {
				s.injected = nil
				s.injectMu.Unlock()
				return
			}
			batch := s.injected
			s.injected = make([]wamp.Message, 0, 4)
			s.injectMu.Unlock()
			for _, m := range batch {
				if !s.forward(m) {
					break
				}
			}
		}
	})
}

// stop ends the way to nexus, which then takes the session for gone.
func (s *session) stop() {
	s.doneOnce.Do(func() {
		close(s.done)
		s.inMu.Lock() // whoever holds it has seen done, or is about to
		s.inClosed = true
		close(s.in)
		s.inMu.Unlock()
	})
}

// finish ends the session gracefully: what is queued, and then last, is written, and
// the connection closed. Only the first end counts.
func (s *session) finish(last ...wamp.Message) { s.finishAfter(nil, last) }

// farewell answers the session's calls in flight with an error, and finishes.
func (s *session) farewell(last wamp.Message, why string) {
	s.finishAfter(func() {
		for _, id := range s.calls.cancelAll() {
			s.router.counters.callsCanceled.Add(1)
			s.box.add(item{msg: requestError(wamp.CALL, id, wamp.ErrCanceled, why), size: messageOverhead})
		}
	}, []wamp.Message{last})
}

func (s *session) finishAfter(before func(), last []wamp.Message) {
	s.box.mu.Lock()
	s.box.settle()
	if !s.box.ended {
		if before != nil {
			before()
		}
		for _, m := range last {
			s.box.add(item{msg: m, size: messageOverhead})
		}
		s.calls.stop()
		s.box.end()
	}
	s.box.mu.Unlock()
	s.stop()
	if s.link != nil {
		// Wakes the reader, which sees done.
		_ = s.link.socket().SetReadDeadline(time.Now())
	}
}

// fail ends the session at once.
func (s *session) fail(c cause, why string) {
	s.cause.CompareAndSwap(int32(causeNone), int32(c))
	s.reason.CompareAndSwap(nil, &why)
	s.box.mu.Lock()
	s.calls.stop()
	s.box.discard()
	s.box.mu.Unlock()
	s.abandon()
}

// abandon is the part of fail that needs no lock.
func (s *session) abandon() {
	s.stop()
	if s.link != nil {
		s.link.socket().interrupt()
	}
}

func (s *session) failed() bool { return cause(s.cause.Load()) != causeNone }

// writeCause tells a peer that did not read in time from one that is gone.
func writeCause(err error) cause {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return causeSlow
	}
	return causeLost
}

// respond sends a message of the router's own to the client.
func (s *session) respond(m wamp.Message) {
	s.box.mu.Lock()
	s.box.drain()
	s.box.add(item{msg: m, size: messageOverhead})
	s.box.nudge()
	s.checkOverflow()
	s.box.mu.Unlock()
}

// checkOverflow fails the session if its queue is full. box.mu is held.
func (s *session) checkOverflow() {
	if !s.box.overflow || !s.cause.CompareAndSwap(int32(causeNone), int32(causeSlow)) {
		return
	}
	why := "queue full"
	s.reason.Store(&why)
	s.calls.stop()
	s.abandon()
}

// violate ends the session for a break of the protocol (WAMP specification,
// "Protocol Violations").
func (s *session) violate(why string) {
	s.router.counters.violations.Add(1)
	s.warn("protocol violation", slog.String("reason", why))
	s.finish(&wamp.Abort{Details: wamp.Dict{wamp.OptMessage: why}, Reason: wamp.ErrProtocolViolation})
}

// warn logs what a client can cause as often as it likes.
func (s *session) warn(event string, attrs ...any) {
	if s.router.warnings.Add(1) <= maxWarnings {
		s.router.log.Warn(event, s.attrs(attrs...)...)
	}
}

// attrs are what log lines about the session have.
func (s *session) attrs(more ...any) []any {
	out := []any{slog.Uint64("session", s.sid.Load())}
	if who := s.who.Load(); who != nil {
		out = append(out, slog.String("authid", who.authid))
	}
	if s.realm != nil {
		out = append(out, slog.String("realm", string(s.realm.name)))
	}
	if s.link != nil {
		out = append(out, slog.String("peer", s.link.socket().RemoteAddr().String()))
	}
	return append(out, more...)
}

// serve runs a session over a link until both nexus and the peer are through with
// it. The link's goroutine is the one that calls it.
func (s *session) serve() {
	s.router.tasks.Go(s.write)
	if s.open() {
		s.read()
		s.stop()
	}
	// In a graceful end the writer has a bounded number of bounded writes to make;
	// in an abrupt one its connection is closed already.
	<-s.written
	if s.failed() {
		s.link.socket().interrupt()
	} else {
		s.link.socket().hang(linger)
	}
	if s.realm != nil {
		<-s.released
		s.realm.leave(s)
	}
	s.logEnd()
}

func (s *session) logEnd() {
	why := ""
	if p := s.reason.Load(); p != nil {
		why = *p
	}
	switch cause(s.cause.Load()) {
	case causeSlow:
		s.router.counters.slowDisconnected.Add(1)
		s.router.log.Warn("slow subscriber disconnected", s.attrs(slog.String("reason", why))...)
	case causeSilent:
		s.router.counters.silentDisconnected.Add(1)
		s.router.log.Info("silent peer disconnected", s.attrs()...)
	default:
		s.router.log.Debug("session ended", s.attrs(slog.String("reason", why))...)
	}
}

// open reads HELLO and joins a realm. False means that the session has ended.
func (s *session) open() bool {
	sock := s.link.socket()
	_ = sock.SetReadDeadline(time.Now().Add(time.Duration(s.limits.HandshakeTimeout)))
	m, err := s.next()
	if err != nil {
		s.readFailed(err)
		return false
	}
	hello, ok := m.(*wamp.Hello)
	if !ok {
		s.violate("the first message must be HELLO, not " + m.MessageType().String())
		return false
	}
	if s.client, err = sanitiseHello(hello); err != nil {
		s.violate(err.Error())
		return false
	}
	s.local = loopbackHost(s.host())
	if !s.join(hello.Realm) {
		return false
	}
	_ = sock.SetReadDeadline(time.Time{})
	details := wamp.Dict{
		"type": s.link.name(), "serialization": s.link.serialization().String(), "peer": sock.RemoteAddr().String(),
	}
	s.router.tasks.Go(func() { s.attach(details) })
	hello.Details = s.client.details
	// Nobody needs them here any more, and there may be many sessions.
	s.client.details, s.client.methods, s.client.extra = nil, nil, nil
	return s.forward(hello)
}

// join finds the realm and chooses how the client is to authenticate. If it cannot,
// the session ends.
func (s *session) join(name wamp.URI) bool {
	re := s.router.realmByName(name)
	if re == nil {
		s.finish(&wamp.Abort{Reason: wamp.ErrNoSuchRealm, Details: wamp.Dict{wamp.OptMessage: "there is no such realm"}})
		return false
	}
	var ok bool
	if s.offer, ok = s.router.settings.Load().offer(&s.client, s.local, s.router.secret); !ok {
		s.router.counters.authFailures.Add(1)
		s.finish(&wamp.Abort{Reason: wamp.ErrNoAuthMethod, Details: wamp.Dict{
			wamp.OptMessage: "none of the authentication methods offered is available here; anonymous sessions are not allowed from where you are",
		}})
		return false
	}
	s.client.details["authmethods"] = wamp.List{s.offer.method}
	s.realm = re
	if !re.enter(s) {
		s.realm = nil
		s.finish(&wamp.Abort{Reason: wamp.ErrSystemShutdown, Details: wamp.Dict{}})
		return false
	}
	return true
}

// host is the address of the peer without its port; empty for a Local.
func (s *session) host() string {
	if s.link == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(s.link.socket().RemoteAddr().String())
	if err != nil {
		return ""
	}
	return host
}

// next reads and decodes one message.
func (s *session) next() (wamp.Message, error) {
	frame, err := s.link.read()
	if err != nil {
		return nil, err
	}
	s.router.counters.messagesIn.Add(1)
	m, err := wire.Decode(s.link.serialization(), frame, wire.Limits{MaxSize: s.limits.MaxMessage})
	if err != nil {
		return nil, &violationError{"undecodable message: " + err.Error()}
	}
	return m, nil
}

// read passes on what the client sends, until the session ends.
func (s *session) read() {
	for {
		m, err := s.next()
		if err != nil {
			s.readFailed(err)
			return
		}
		if !s.receive(m) {
			return
		}
	}
}

// readFailed ends the session when nothing more can be read.
func (s *session) readFailed(err error) {
	select {
	case <-s.done:
		return // it has ended already, and this is how the reader was told
	default:
	}
	var broken *violationError
	switch {
	case errors.As(err, &broken):
		s.violate(broken.why)
	case errors.Is(err, io.EOF) && s.link.framing() == framingWebSocket:
		s.finish()
	default:
		s.fail(causeLost, err.Error())
	}
}

// receive deals with one message from the client. False means that no more are to
// be read.
func (s *session) receive(m wamp.Message) bool {
	if s.sid.Load() == 0 {
		return s.receiveEarly(m)
	}
	v := s.decide(m)
	switch v.action {
	case forward:
		return s.submit(v.message)
	case answer:
		s.router.counters.refused.Add(1)
		s.respond(v.message)
	case ignore:
		s.router.counters.ignored.Add(1)
	case leave:
		s.finish()
		return false
	case abort:
		s.violate(v.why)
		return false
	}
	return true
}

// receiveEarly deals with a message that comes before WELCOME.
func (s *session) receiveEarly(m wamp.Message) bool {
	switch m.(type) {
	case *wamp.Authenticate:
		return s.forward(m)
	case *wamp.Abort, *wamp.Goodbye:
		s.finish()
		return false
	}
	s.violate(m.MessageType().String() + " before WELCOME")
	return false
}

// may reports whether the session's scopes allow the verb on a pattern.
func (s *session) may(v core.Verb, p core.Pattern) bool {
	who := s.who.Load()
	if who == nil {
		return false
	}
	return who.kind == kindTrusted || who.grants.AllowPattern(v, p)
}
