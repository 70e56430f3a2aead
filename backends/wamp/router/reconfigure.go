package router

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"syscall"

	"github.com/anybridge/anybridge/core"
	"github.com/gammazero/nexus/v3/wamp"
)

// Reconfigure applies a changed configuration to the running router. A bad one is an
// error and changes nothing.
//
// A session whose principal or token is gone, has other credentials, another role or
// no right to the realm any more ends at once, with GOODBYE wamp.close.normal, and so
// does one that holds a subscription or registration beyond its new scopes; changed
// scopes apply to all others at once. Sessions survive a change of the port, the
// path or the certificate. A realm that is gone says GOODBYE
// wamp.close.close_realm. Changed limits apply to new sessions.
func (r *Router) Reconfigure(cfg Config) error {
	st, err := newSettings(cfg)
	if err != nil {
		return err
	}
	r.change.Lock()
	defer r.change.Unlock()
	r.mu.Lock()
	closing, old := r.closing, r.listener
	r.mu.Unlock()
	if closing {
		return core.Errorf(core.Unavailable, "reconfigure: the router is closed")
	}
	before := r.settings.Load()

	// What can fail comes first.
	var added []*realm
	for _, name := range st.realms {
		if r.realmByName(name) != nil {
			continue
		}
		re := r.newRealm(name)
		if err := r.nexus.AddRealm(re.config()); err != nil {
			r.dropRealms(added)
			return fmt.Errorf("add realm: %w", err)
		}
		added = append(added, re)
	}
	fresh := old
	if old != nil && st.listen != before.listen {
		if fresh, err = r.relisten(old, before.listen, st.listen); err != nil {
			r.dropRealms(added)
			return err
		}
	}

	var gone []*realm
	r.mu.Lock()
	r.settings.Store(st)
	for _, re := range added {
		r.realms[re.name] = re
	}
	for name, re := range r.realms {
		if !slices.Contains(st.realms, name) {
			gone = append(gone, re)
			delete(r.realms, name)
		}
	}
	for _, re := range r.realms {
		for _, s := range re.list() {
			r.revise(s, st)
		}
	}
	r.mu.Unlock()

	if fresh != old {
		r.setListener(fresh)
		old.close()
	}
	for _, re := range gone {
		re.close(wamp.ErrCloseRealm, "the realm was removed")
	}
	for _, re := range gone {
		re.wg.Wait() // every session ends in bounded time, see session.serve
	}
	r.dropRealms(gone)
	return nil
}

// dropRealms takes realms without sessions away from nexus.
func (r *Router) dropRealms(realms []*realm) {
	for _, re := range realms {
		r.nexus.RemoveRealm(re.name)
	}
}

// relisten opens the new port. Where the old one is in its way it closes that first,
// and opens it again if the new one cannot be had.
func (r *Router) relisten(old *listener, before, after string) (*listener, error) {
	fresh, err := r.listen(after)
	if err == nil || !errors.Is(err, syscall.EADDRINUSE) || !samePort(old.Addr().String(), after) {
		return fresh, err
	}
	old.close()
	if fresh, err = r.listen(after); err == nil {
		return fresh, nil
	}
	again, againErr := r.listen(old.Addr().String())
	if againErr != nil {
		r.log.Error("router does not listen any more", slog.String("listen", before), slog.Any("error", againErr))
		return nil, errors.Join(err, againErr)
	}
	r.setListener(again)
	return nil, err
}

func samePort(a, b string) bool {
	_, pa, errA := net.SplitHostPort(a)
	_, pb, errB := net.SplitHostPort(b)
	return errA == nil && errB == nil && pa == pb
}

// revise gives a session what the new settings have for it, or ends it. r.mu is
// held, so that nobody authenticates meanwhile.
func (r *Router) revise(s *session, st *settings) {
	who := s.who.Load()
	if who == nil || who.kind == kindTrusted {
		return // not authenticated yet: assume looks at the new settings
	}
	now := st.current(s)
	if now == nil {
		r.revoke(s, "the credentials are not valid any more")
		return
	}
	s.who.Store(now)
	if !s.holdingsDo(func() bool { return s.holdsAllowed(now.grants) }) {
		r.revoke(s, "a subscription or registration is not allowed any more")
	}
}

// holdsAllowed reports whether the scopes allow all that the session holds. The
// mailbox's mu is held.
func (s *session) holdsAllowed(g core.Grants) bool {
	for p := range s.subs.all {
		if !g.AllowPattern(core.VerbSubscribe, p) {
			return false
		}
	}
	for p := range s.regs.all {
		if !g.AllowPattern(core.VerbRegister, p) {
			return false
		}
	}
	return true
}

func (r *Router) revoke(s *session, why string) {
	r.counters.sessionsRevoked.Add(1)
	r.log.Info("session revoked", s.attrs(slog.String("reason", why))...)
	s.farewell(&wamp.Goodbye{Reason: wamp.CloseNormal, Details: wamp.Dict{wamp.OptMessage: why}}, why)
}
