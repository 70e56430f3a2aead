package router

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/gorilla/websocket"
)

const (
	maxRequest = 16 << 10 // bytes of an HTTP request's head

	// readBuffer is what every connection has for reading. A longer message is read
	// past it.
	readBuffer = 2 << 10

	frameText   = 0x80 | 1
	frameBinary = 0x80 | 2
	frameClose  = 0x80 | 8
	framePing   = 0x80 | 9
	framePong   = 0x80 | 10
)

// webSocket is a link over WebSocket (RFC 6455; WAMP specification, "WebSocket
// Transport"). gorilla reads; frames are written here, since those of a server are
// not masked and can be shared by many connections.
type webSocket struct {
	sock    *socket
	conn    *websocket.Conn
	ser     wire.Serialization
	control func(control)
	pools   *pools
}

// acceptWebSocket reads an HTTP request and upgrades the connection. Anything but a
// WebSocket gets a short answer and an error.
func acceptWebSocket(s *socket, cfg *settings, pools *pools, answer func(control)) (*webSocket, error) {
	br := bufio.NewReaderSize(&requestReader{r: s, left: maxRequest}, readBuffer)
	req, err := http.ReadRequest(br)
	if err != nil {
		return nil, err
	}
	w := &responder{sock: s, header: http.Header{}}
	w.buf = bufio.NewReadWriter(br, bufio.NewWriterSize(s, 256))
	switch {
	case req.URL.Path != cfg.path:
		w.text(http.StatusNotFound, "This is a WAMP router. WebSocket clients connect to "+cfg.path+".\n")
		return nil, errors.New("HTTP request for an unknown path")
	case !websocket.IsWebSocketUpgrade(req):
		w.header.Set("Upgrade", "websocket")
		w.text(http.StatusUpgradeRequired, "This is a WAMP router. Connect with a WAMP client over WebSocket (subprotocols "+
			strings.Join(wire.Subprotocols(), ", ")+") or RawSocket.\n")
		return nil, errors.New("HTTP request without upgrade")
	}
	offered := websocket.Subprotocols(req)
	ser, ok := chooseSubprotocol(offered)
	if !ok {
		w.text(http.StatusBadRequest, "No common WebSocket subprotocol. This router speaks "+strings.Join(wire.Subprotocols(), ", ")+".\n")
		return nil, errors.New("no common subprotocol")
	}
	upgrader := websocket.Upgrader{
		Subprotocols:    []string{ser.Subprotocol()},
		WriteBufferPool: new(sync.Pool), // so that none is kept
		ReadBufferSize:  readBuffer,
		CheckOrigin:     cfg.originAllowed,
	}
	conn, err := upgrader.Upgrade(w, req, nil)
	if err != nil {
		return nil, err
	}
	s.muted.Store(true)
	ws := &webSocket{sock: s, conn: conn, ser: ser, control: answer, pools: pools}
	conn.SetReadLimit(int64(cfg.limits.MaxMessage))
	conn.SetPingHandler(func(data string) error {
		ws.hear()
		answer(controlFrame(framePong, []byte(data)))
		return nil
	})
	conn.SetPongHandler(func(string) error { ws.hear(); return nil })
	conn.SetCloseHandler(func(int, string) error { return nil })
	return ws, nil
}

// chooseSubprotocol takes the first one offered that is known: the client's
// preference (RFC 6455, section 1.9).
func chooseSubprotocol(offered []string) (wire.Serialization, bool) {
	for _, name := range offered {
		if s, ok := wire.ParseSubprotocol(name); ok {
			return s, true
		}
	}
	return 0, false
}

// originAllowed checks a browser's Origin. A router on a loopback address trusts the
// Host header only if it names this machine: otherwise a page could rebind its own
// name to 127.0.0.1.
func (s *settings) originAllowed(r *http.Request) bool {
	text := r.Header.Get("Origin")
	if text == "" || s.anyOrigin {
		return true
	}
	origin, err := url.Parse(strings.ToLower(text))
	if err != nil || origin.Host == "" {
		return false
	}
	if loopbackHost(origin.Hostname()) {
		return true
	}
	if !s.loopback && strings.EqualFold(origin.Host, r.Host) {
		return true
	}
	for _, pattern := range s.origins {
		against := origin.Host
		if strings.Contains(pattern, "://") {
			against = origin.Scheme + "://" + origin.Host
		}
		if against == pattern || origin.Hostname() == pattern {
			return true
		}
		if suffix, ok := strings.CutPrefix(pattern, "*."); ok && strings.HasSuffix(origin.Hostname(), "."+suffix) {
			return true
		}
		if ok, err := path.Match(pattern, against); err == nil && ok {
			return true
		}
	}
	return false
}

func (w *webSocket) hear() { w.sock.heard.Store(time.Now().UnixNano()) }

func (w *webSocket) read() ([]byte, error) {
	kind, r, err := w.conn.NextReader()
	if err != nil {
		return nil, w.readError(err)
	}
	scratch := w.pools.scratch()
	defer w.pools.reads.Put(scratch)
	n, err := io.ReadFull(r, scratch[:])
	var msg []byte
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		msg = bytes.Clone(scratch[:n])
	case err == nil:
		var b bytes.Buffer
		b.Grow(4 * len(scratch))
		b.Write(scratch[:])
		if _, err := b.ReadFrom(r); err != nil {
			return nil, w.readError(err)
		}
		msg = b.Bytes()
	default:
		return nil, w.readError(err)
	}
	w.hear()
	if (kind == websocket.BinaryMessage) != w.ser.Binary() {
		return nil, &violationError{"WebSocket frame of the wrong type for " + w.ser.Subprotocol()}
	}
	return msg, nil
}

// readError tells an orderly close, a break of the protocol and a lost connection
// apart.
func (w *webSocket) readError(err error) error {
	var closed *websocket.CloseError
	var network net.Error
	switch {
	case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure:
		return io.EOF
	case errors.Is(err, websocket.ErrReadLimit):
		return &violationError{"message too long"}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &closed), errors.As(err, &network), errors.Is(err, net.ErrClosed):
		return err
	case strings.HasPrefix(err.Error(), "websocket: "):
		return &violationError{err.Error()}
	}
	return err
}

func (w *webSocket) write(p []byte) error { return w.sock.flush(p) }

func (w *webSocket) frame(dst []byte, build func([]byte) ([]byte, error)) ([]byte, error) {
	// Most frames have a head of 4 bytes; for the others the payload is moved.
	const guess = 4
	start := len(dst)
	out, err := build(append(dst, 0, 0, 0, 0))
	if err != nil {
		return dst, err
	}
	n := len(out) - start - guess
	opcode := byte(frameText)
	if w.ser.Binary() {
		opcode = frameBinary
	}
	switch {
	case n < 126:
		copy(out[start+2:], out[start+guess:])
		out = out[:len(out)-2]
		out[start], out[start+1] = opcode, byte(n)
	case n <= 0xffff:
		out[start], out[start+1] = opcode, 126
		binary.BigEndian.PutUint16(out[start+2:], uint16(n))
	default:
		out = append(out, 0, 0, 0, 0, 0, 0)
		copy(out[start+10:], out[start+guess:start+guess+n])
		out[start], out[start+1] = opcode, 127
		binary.BigEndian.PutUint64(out[start+2:], uint64(n))
	}
	return out, nil
}

// controlFrame builds a control frame (RFC 6455, section 5.5): at most 125 bytes.
func controlFrame(opcode byte, data []byte) control {
	data = data[:min(len(data), 125)]
	return append(control{opcode, byte(len(data))}, data...)
}

func (w *webSocket) closing() []byte {
	return controlFrame(frameClose, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
}

func (w *webSocket) fits(int) bool                     { return true }
func (w *webSocket) ping() []byte                      { return controlFrame(framePing, nil) }
func (w *webSocket) framing() uint8                    { return framingWebSocket }
func (w *webSocket) serialization() wire.Serialization { return w.ser }
func (w *webSocket) name() string                      { return "websocket" }
func (w *webSocket) socket() *socket                   { return w.sock }

// requestReader bounds what an HTTP request may take.
type requestReader struct {
	r    io.Reader
	left int
}

func (r *requestReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, errors.New("HTTP request head is too long")
	}
	n, err := r.r.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

// responder is the little of an http.ResponseWriter that an upgrade needs.
type responder struct {
	sock   *socket
	buf    *bufio.ReadWriter
	header http.Header
	status int
}

func (w *responder) Header() http.Header    { return w.header }
func (w *responder) WriteHeader(status int) { w.status = status }

func (w *responder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	resp := http.Response{
		StatusCode: w.status, ProtoMajor: 1, ProtoMinor: 1, Header: w.header,
		Body: io.NopCloser(bytes.NewReader(b)), ContentLength: int64(len(b)), Close: true,
	}
	if err := resp.Write(w.buf); err != nil {
		return 0, err
	}
	return len(b), w.buf.Flush()
}

// Hijack hands the connection to gorilla.
func (w *responder) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.sock, w.buf, nil }

func (w *responder) text(status int, body string) {
	w.header.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // whoever asked may be gone
}
