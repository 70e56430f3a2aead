package router

import (
	"sync"

	nexus "github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
)

// realm is what the router keeps of a realm beside nexus: its sessions, from before
// nexus learns of them until after it has let go of them. A realm is taken away from
// nexus only when it has none: nexus would send on closed channels otherwise.
type realm struct {
	name     wamp.URI
	pressure pressure
	retained retained
	retainMu sync.Mutex // see syncRequest

	mu       sync.Mutex
	sessions map[*session]struct{}
	closing  bool
	wg       sync.WaitGroup // the sessions
}

func (r *Router) newRealm(name wamp.URI) *realm {
	re := &realm{name: name, sessions: map[*session]struct{}{}}
	re.retained.evicted = &r.counters.retainedEvicted
	return re
}

// config is how nexus is to run the realm. Every session says that it is local (see
// session.IsLocal) and is treated as remote nevertheless.
func (re *realm) config() *nexus.RealmConfig {
	return &nexus.RealmConfig{
		URI:                  re.name,
		AllowDisclose:        true,
		Authenticators:       authenticators(),
		RequireLocalAuth:     true,
		RequireLocalAuthz:    true,
		MetaStrict:           true,
		PublishFilterFactory: publishFilter,
	}
}

// enter adds a session; false if the realm is being closed.
func (re *realm) enter(s *session) bool {
	re.mu.Lock()
	defer re.mu.Unlock()
	if re.closing {
		return false
	}
	s.box.mu.Lock()
	s.box.changed = func(count int) { s.strain.changed(&re.pressure, count, s.box.maxCount) }
	s.box.mu.Unlock()
	re.sessions[s] = struct{}{}
	re.wg.Add(1)
	return true
}

// leave removes a session that nexus holds no more.
func (re *realm) leave(s *session) {
	re.mu.Lock()
	delete(re.sessions, s)
	re.mu.Unlock()
	re.wg.Done()
}

func (re *realm) size() int {
	re.mu.Lock()
	defer re.mu.Unlock()
	return len(re.sessions)
}

func (re *realm) list() []*session {
	re.mu.Lock()
	defer re.mu.Unlock()
	out := make([]*session, 0, len(re.sessions))
	for s := range re.sessions {
		out = append(out, s)
	}
	return out
}

// close lets nobody in any more and says goodbye to everybody, whose calls in flight
// are answered with an error. It does not wait.
func (re *realm) close(reason wamp.URI, why string) {
	re.mu.Lock()
	re.closing = true
	re.mu.Unlock()
	for _, s := range re.list() {
		s.farewell(&wamp.Goodbye{Reason: reason, Details: wamp.Dict{wamp.OptMessage: why}}, why)
	}
}

// abort ends what is left of the sessions at once.
func (re *realm) abort(why string) {
	for _, s := range re.list() {
		s.fail(causeLost, why)
	}
}

// watch looks after the sessions, see Router.watch.
func (re *realm) watch() {
	var active int64
	for _, s := range re.list() {
		s.box.mu.Lock()
		if s.strain.watch(&re.pressure, s.box.taken) {
			active++
		}
		s.box.mu.Unlock()
	}
	re.pressure.active.Store(active)
	if !re.pressure.high() {
		re.pressure.release()
	}
}
