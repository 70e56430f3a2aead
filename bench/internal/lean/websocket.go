package lean

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// The WebSocket opcodes that these clients meet (RFC 6455, section 5.2).
const (
	OpText   = 0x1
	OpBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xA
)

// WebSocket is a client connection. One goroutine may read while another one
// writes.
type WebSocket struct {
	conn net.Conn
	r    *bufio.Reader
	out  []byte
	in   []byte
}

// DialWebSocket connects to url ("ws://host:port/path") with one subprotocol.
// bufferSize bounds what one read from the socket takes.
func DialWebSocket(ctx context.Context, url, subprotocol string, bufferSize int) (*WebSocket, error) {
	rest, ok := strings.CutPrefix(url, "ws://")
	if !ok {
		return nil, fmt.Errorf("dial %s: only ws:// is known here", url)
	}
	host, path, _ := strings.Cut(rest, "/")
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", url, err)
	}
	w := &WebSocket{conn: conn, r: bufio.NewReaderSize(conn, bufferSize)}
	if err := w.upgrade(host, "/"+path, subprotocol); err != nil {
		conn.Close()
		return nil, fmt.Errorf("upgrade %s: %w", url, err)
	}
	return w, nil
}

func (w *WebSocket) upgrade(host, path, subprotocol string) error {
	_ = w.conn.SetDeadline(time.Now().Add(10 * time.Second))
	// The key is a constant: nobody caches between two ends of loopback.
	_, err := fmt.Fprintf(w.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
		path, host, subprotocol)
	if err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	for first := true; ; first = false {
		line, err := w.r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 101")) {
			return fmt.Errorf("answered %q", line)
		}
		if len(line) == 0 {
			return w.conn.SetDeadline(time.Time{})
		}
	}
}

// Queue adds one message to what Flush will write.
func (w *WebSocket) Queue(op byte, payload []byte) {
	w.out = append(w.out, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		w.out = append(w.out, 0x80|byte(n))
	case n < 1<<16:
		w.out = binary.BigEndian.AppendUint16(append(w.out, 0x80|126), uint16(n))
	default:
		w.out = binary.BigEndian.AppendUint64(append(w.out, 0x80|127), uint64(n))
	}
	// A masking key of zeros is well-formed, and spares the client the XOR that
	// the server has to do in any case.
	w.out = append(append(w.out, 0, 0, 0, 0), payload...)
}

// Flush writes what has been queued.
func (w *WebSocket) Flush() error {
	_, err := w.conn.Write(w.out)
	w.out = w.out[:0]
	return err
}

// Send is Queue and Flush.
func (w *WebSocket) Send(op byte, payload []byte) error {
	w.Queue(op, payload)
	return w.Flush()
}

// Read returns the next message, valid until the next Read. It answers pings,
// which makes it a writer too: a connection that is pinged while another
// goroutine writes would mix the two, so nothing here enables keep-alive pings.
func (w *WebSocket) Read() (payload []byte, err error) {
	for {
		op, payload, err := w.readFrame()
		if err != nil {
			return nil, err
		}
		switch op {
		case OpText, OpBinary:
			return payload, nil
		case opPing:
			if err := w.Send(opPong, payload); err != nil {
				return nil, err
			}
		case opClose:
			return nil, fmt.Errorf("closed by the server: %q", payload)
		}
	}
}

// Idle says that nothing more has arrived: the time to flush answers.
func (w *WebSocket) Idle() bool { return w.r.Buffered() == 0 }

// SetReadDeadline bounds the Reads that follow.
func (w *WebSocket) SetReadDeadline(t time.Time) error { return w.conn.SetReadDeadline(t) }

// Close drops the connection without ceremony.
func (w *WebSocket) Close() { w.conn.Close() }

func (w *WebSocket) readFrame() (op byte, payload []byte, err error) {
	head, err := w.r.Peek(2)
	if err != nil {
		return 0, nil, err
	}
	if head[0]&0x80 == 0 {
		return 0, nil, errors.New("fragmented message")
	}
	op = head[0] & 0x0f
	size, header := int(head[1]&0x7f), 2
	switch size {
	case 126:
		if head, err = w.r.Peek(4); err != nil {
			return 0, nil, err
		}
		size, header = int(binary.BigEndian.Uint16(head[2:])), 4
	case 127:
		if head, err = w.r.Peek(10); err != nil {
			return 0, nil, err
		}
		size, header = int(binary.BigEndian.Uint64(head[2:])), 10
	}
	if _, err := w.r.Discard(header); err != nil {
		return 0, nil, err
	}
	if cap(w.in) < size {
		w.in = make([]byte, size)
	}
	w.in = w.in[:size]
	_, err = io.ReadFull(w.r, w.in)
	return op, w.in, err
}
