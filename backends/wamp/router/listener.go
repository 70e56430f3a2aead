package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/anybridge/anybridge/core"
)

// listener accepts connections until it is closed.
type listener struct {
	net.Listener
	done chan struct{} // its goroutine has ended
}

func (l *listener) close() {
	_ = l.Listener.Close()
	<-l.done
}

// listen opens the port and accepts connections.
func (r *Router) listen(address string) (*listener, error) {
	var config net.ListenConfig
	nl, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, core.Errorf(core.InvalidArgument, "listen: %w", err)
	}
	l := &listener{Listener: nl, done: make(chan struct{})}
	go r.accept(l)
	return l, nil
}

func (r *Router) accept(l *listener) {
	defer close(l.done)
	pause := 5 * time.Millisecond
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			pause = 5 * time.Millisecond
			r.admitConnection(c)
		case errors.Is(err, net.ErrClosed):
			return
		default: // for example, too many open files
			r.counters.acceptErrors.Add(1)
			r.log.Error("accept failed", slog.Any("error", err))
			time.Sleep(pause)
			pause = min(2*pause, time.Second)
		}
	}
}

// admitConnection serves a connection in a goroutine of its own, unless there are
// too many.
func (r *Router) admitConnection(c net.Conn) {
	limits := r.settings.Load().limits
	s := &socket{Conn: c, tcp: c, timeout: time.Duration(limits.WriteTimeout)}
	s.heard.Store(time.Now().UnixNano())
	r.mu.Lock()
	refused := r.closing || len(r.sockets) >= limits.MaxSessions
	if !refused {
		r.sockets[s] = struct{}{}
		r.connections.Add(1)
		r.tasks.Go(func() { r.serve(s) })
	}
	r.mu.Unlock()
	if refused {
		r.counters.sessionsRefused.Add(1)
		_ = c.Close()
	}
}

// serve runs a connection from its first byte to its last. The session gets a
// goroutine of its own, whose stack has not grown in a handshake.
func (r *Router) serve(s *socket) {
	if c, ok := s.tcp.(*net.TCPConn); ok {
		_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 6})
	}
	session, err := r.handshake(s, r.settings.Load())
	if err != nil {
		r.log.Debug("transport handshake failed", slog.String("peer", s.RemoteAddr().String()), slog.Any("error", err))
		r.forget(s)
		return
	}
	r.tasks.Go(func() {
		session.serve()
		r.forget(s)
	})
}

// forget closes a connection for good.
func (r *Router) forget(s *socket) {
	_ = s.tcp.Close()
	r.mu.Lock()
	delete(r.sockets, s)
	r.mu.Unlock()
	r.connections.Add(-1)
}

// handshake finds out which transport a client speaks by its first byte, and agrees
// with it on a serialisation.
func (r *Router) handshake(s *socket, st *settings) (*session, error) {
	if err := s.SetDeadline(time.Now().Add(time.Duration(st.limits.HandshakeTimeout))); err != nil {
		return nil, err
	}
	if st.tls != nil {
		s.Conn = tls.Server(s.tcp, st.tls)
	}
	var first [1]byte
	if _, err := io.ReadFull(s.Conn, first[:]); err != nil {
		return nil, fmt.Errorf("read first byte: %w", err)
	}
	s.first = first[:]
	out := r.newSession(nil, st.limits)
	// Control frames are answered by the session's writer, in turn with messages.
	reply := func(c control) {
		out.box.mu.Lock()
		out.box.add(item{msg: c, size: int32(messageOverhead + len(c))})
		out.box.nudge()
		out.checkOverflow()
		out.box.mu.Unlock()
	}
	if first[0] == rawMagic {
		link, err := acceptRawSocket(s, st, reply)
		if err != nil {
			return nil, fmt.Errorf("RawSocket: %w", err)
		}
		out.link = link
	} else {
		link, err := acceptWebSocket(s, st, &r.pools, reply)
		if err != nil {
			return nil, fmt.Errorf("WebSocket: %w", err)
		}
		out.link = link
	}
	return out, s.SetDeadline(time.Time{})
}
