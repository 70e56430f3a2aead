package quick

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what is answered quickly and by whom.
type Options struct {
	Prefix  string       // of the paths, e.g. "/publish/"
	MaxBody int64        // bytes of a body that is taken here
	Handler http.Handler // of these requests; see the package's comment
	// Rest gets every other connection. Its Handler, timeouts, ConnState and ErrorLog are
	// heeded here, too; all of its timeouts have to be set.
	Rest *http.Server
}

// Server serves connections, some of them itself. Its methods may be called concurrently.
type Server struct {
	o     Options
	watch func(net.Conn, http.ConnState)

	closing atomic.Bool // it is set with mu held

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	working   sync.WaitGroup // the connections
}

// New makes a server. It takes over the ConnState of o.Rest.
func New(o Options) *Server {
	s := &Server{o: o, watch: o.Rest.ConnState, listeners: map[net.Listener]struct{}{}, conns: map[*conn]struct{}{}}
	if s.watch == nil {
		s.watch = func(net.Conn, http.ConnState) {}
	}
	if o.Rest.ErrorLog == nil {
		o.Rest.ErrorLog = log.Default()
	}
	o.Rest.ConnState = func(c net.Conn, state http.ConnState) {
		if _, known := c.(*handed); known && state == http.StateNew {
			return
		}
		s.watch(c, state)
	}
	return s
}

// Serve answers on the listener until Shutdown. It returns http.ErrServerClosed then.
func (s *Server) Serve(l net.Listener) error {
	if !s.enter(l) {
		_ = l.Close()
		return http.ErrServerClosed
	}
	rest := newHandover(l)
	var others sync.WaitGroup
	others.Go(func() { _ = s.o.Rest.Serve(rest) }) // it ends with rest
	err := s.accept(l, rest)
	_ = rest.Close()
	_ = l.Close()
	others.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	if s.closing.Load() {
		return http.ErrServerClosed
	}
	return err
}

func (s *Server) enter(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

// accept returns when the listener is closed. When accepting fails, as for want of file
// descriptors, it tries again after a pause.
func (s *Server) accept(l net.Listener, rest *handover) error {
	const shortest, longest = 5 * time.Millisecond, time.Second
	for pause := shortest; ; {
		nc, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			s.o.Rest.ErrorLog.Printf("accept: %v; trying again in %s", err, pause)
			select {
			case <-time.After(pause):
			case <-rest.done:
				return net.ErrClosed
			}
			pause = min(2*pause, longest)
			continue
		}
		pause = shortest
		if _, secure := nc.(*tls.Conn); secure { // it may be one for HTTP/2
			if !rest.give(nc) {
				_ = nc.Close()
			}
			continue
		}
		s.watch(nc, http.StateNew)
		s.start(newConn(s, nc, rest))
	}
}

func (s *Server) start(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		c.end()
		return
	}
	s.conns[c] = struct{}{}
	s.working.Go(func() {
		handedOver := c.serve()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		if !handedOver {
			c.end()
		}
	})
}

// Shutdown stops listening, closes the connections that wait for a request, and lets those
// under way finish until ctx ends; then it cuts them off, and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing.Store(true)
	for l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.conns {
		c.wake()
	}
	s.mu.Unlock()
	err := s.o.Rest.Shutdown(ctx)
	if err != nil {
		_ = s.o.Rest.Close()
	}
	done := make(chan struct{})
	go func() { s.working.Wait(); close(done) }()
	select {
	case <-done:
		return err
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.cut()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}
