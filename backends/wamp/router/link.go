package router

import (
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

// link is the transport of one session, after its handshake. One goroutine reads and
// another writes; everything else may be called by anybody.
type link interface {
	// read returns the next message; it answers control frames itself, through the
	// function that was given when the link was made. The slice is the caller's.
	// After an orderly close by the peer it returns io.EOF.
	read() ([]byte, error)
	// write writes frames, within the write timeout.
	write(frames []byte) error
	// frame appends to dst what build appends to it, as one frame.
	frame(dst []byte, build func([]byte) ([]byte, error)) ([]byte, error)
	// fits reports whether the peer accepts a frame of that length.
	fits(length int) bool
	// closing returns what is to be written last, or nil.
	closing() []byte
	// ping returns a frame that makes the peer answer, or nil if there is none.
	ping() []byte
	framing() uint8 // part of wire.FrameKey
	serialization() wire.Serialization
	name() string // "websocket" or "rawsocket"
	socket() *socket
}

// The framings, as in wire.FrameKey.
const (
	framingWebSocket uint8 = iota
	framingRawSocket
)

// violationError is a break of the transport's protocol, or of WAMP's.
type violationError struct{ why string }

func (e *violationError) Error() string { return e.why }

// socket is a connection, plain or TLS, of which the first byte may have been read
// already.
type socket struct {
	net.Conn          // what is read from and written to
	tcp      net.Conn // what lies beneath: closing it never blocks
	first    []byte   // read ahead
	timeout  time.Duration
	muted    atomic.Bool // Write does nothing: gorilla must not write
	heard    atomic.Int64
}

// Read returns what was read ahead first.
func (s *socket) Read(p []byte) (int, error) {
	if len(s.first) > 0 {
		n := copy(p, s.first)
		s.first = s.first[n:]
		return n, nil
	}
	return s.Conn.Read(p)
}

// Write writes for the HTTP handshake; once muted it pretends to.
func (s *socket) Write(p []byte) (int, error) {
	if s.muted.Load() {
		return len(p), nil
	}
	return s.Conn.Write(p)
}

// SetWriteDeadline leaves the deadline to flush once muted.
func (s *socket) SetWriteDeadline(t time.Time) error {
	if s.muted.Load() {
		return nil
	}
	return s.Conn.SetWriteDeadline(t)
}

// flush writes p within the write timeout.
func (s *socket) flush(p []byte) error {
	if err := s.Conn.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
		return err
	}
	_, err := s.Conn.Write(p)
	return err
}

// interrupt ends a read or write that is going on, at once.
func (s *socket) interrupt() { _ = s.tcp.Close() }

// hang tells the peer that nothing more will come, reads what is on its way for a
// moment, and closes. Closing with unread data would make the system discard what
// was written last.
func (s *socket) hang(d time.Duration) {
	deadline := time.Now().Add(d)
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok && s.Conn.SetDeadline(deadline) == nil && c.CloseWrite() == nil {
		var sink [1024]byte
		for limit := 0; limit < maxMessage; {
			n, err := s.Conn.Read(sink[:])
			limit += n
			if err != nil {
				break
			}
		}
	}
	_ = s.tcp.Close()
}

// readExactly reads n bytes. It allocates as data comes, whatever length was
// claimed.
func readExactly(r io.Reader, n int) ([]byte, error) {
	const step = 64 << 10
	b := make([]byte, min(n, step))
	for have := 0; ; {
		m, err := io.ReadFull(r, b[have:])
		if err != nil {
			return nil, err
		}
		if have += m; have == n {
			return b, nil
		}
		grown := make([]byte, min(n, 2*len(b)))
		copy(grown, b)
		b = grown
	}
}
