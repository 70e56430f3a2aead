package session_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// relay stands between a session and its router, and can cut off one side only.
type relay struct {
	addr     string
	upstream string
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	ours   []net.Conn // the sessions' ends
	theirs []net.Conn // the router's ends
	stale  []net.Conn // router's ends whose session is cut off
}

func newRelay(t testing.TB, upstream string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: l.Addr().String(), upstream: upstream, listener: l}
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		_ = l.Close()
		r.mu.Lock()
		for _, c := range append(append(r.ours, r.theirs...), r.stale...) {
			_ = c.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	return r
}

func (r *relay) accept() {
	for {
		ours, err := r.listener.Accept()
		if err != nil {
			return
		}
		theirs, err := net.Dial("tcp", r.upstream)
		if err != nil {
			_ = ours.Close()
			continue
		}
		r.mu.Lock()
		r.ours = append(r.ours, ours)
		r.theirs = append(r.theirs, theirs)
		r.mu.Unlock()
		r.wg.Go(func() { _, _ = io.Copy(theirs, ours) })
		r.wg.Go(func() { _, _ = io.Copy(ours, theirs) })
	}
}

// freeze cuts off the sessions; the router does not notice.
func (r *relay) freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.ours {
		_ = c.Close()
	}
	r.stale = append(r.stale, r.theirs...)
	r.ours, r.theirs = nil, nil
}

// thaw lets the router notice.
func (r *relay) thaw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.stale {
		_ = c.Close()
	}
	r.stale = nil
}
