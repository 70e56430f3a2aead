package router

import (
	"bufio"
	"errors"
	"io"
	"time"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

const (
	rawMagic = 0x7f

	rawMessage = 0
	rawPing    = 1
	rawPong    = 2

	// What the router answers to a handshake that it refuses.
	rawErrSerializer = 1 << 4
	rawErrReserved   = 3 << 4

	rawMaxPing = 4 << 10 // a longer PING is a violation: it would be echoed
	rawMaxLen  = 1<<24 - 1
)

// rawSocket is a link over RawSocket (WAMP specification, "RawSocket Transport").
type rawSocket struct {
	sock    *socket
	r       *bufio.Reader
	ser     wire.Serialization
	control func(control)
	accepts int // the longest message this side takes, as announced
	most    int // and the longest it really takes
	sends   int // the longest message the peer takes
}

// acceptRawSocket does the handshake, of which nothing has been read yet.
func acceptRawSocket(s *socket, cfg *settings, answer func(control)) (*rawSocket, error) {
	var hello [4]byte
	if _, err := io.ReadFull(s, hello[:]); err != nil {
		return nil, err
	}
	refuse := func(code byte, why string) (*rawSocket, error) {
		_ = s.flush([]byte{rawMagic, code, 0, 0})
		return nil, errors.New(why)
	}
	if hello[0] != rawMagic {
		return nil, errors.New("not a RawSocket handshake")
	}
	if hello[2] != 0 || hello[3] != 0 {
		return refuse(rawErrReserved, "RawSocket handshake uses reserved bits")
	}
	ser, ok := wire.ParseRawSocketID(hello[1] & 0x0f)
	if !ok {
		return refuse(rawErrSerializer, "RawSocket handshake asks for an unknown serializer")
	}
	exponent := byte(0)
	for exponent < 15 && 1<<(exponent+9) < cfg.limits.MaxMessage {
		exponent++
	}
	rs := &rawSocket{
		sock: s, ser: ser, control: answer, r: bufio.NewReaderSize(s, readBuffer),
		accepts: min(1<<(exponent+9), rawMaxLen), most: cfg.limits.MaxMessage,
		sends: min(1<<(hello[1]>>4+9), rawMaxLen),
	}
	return rs, s.flush([]byte{rawMagic, exponent<<4 | ser.RawSocketID(), 0, 0})
}

func (rs *rawSocket) read() ([]byte, error) {
	for {
		var head [4]byte
		if _, err := io.ReadFull(rs.r, head[:]); err != nil {
			return nil, err
		}
		n := int(head[1])<<16 | int(head[2])<<8 | int(head[3])
		if n > rs.accepts || n > rs.most && head[0] == rawMessage {
			return nil, &violationError{"RawSocket message too long"}
		}
		switch head[0] {
		case rawMessage:
			b, err := readExactly(rs.r, n)
			rs.sock.heard.Store(time.Now().UnixNano())
			return b, err
		case rawPing:
			if n > rawMaxPing {
				return nil, &violationError{"RawSocket PING too long"}
			}
			pong := make(control, 4+n)
			if _, err := io.ReadFull(rs.r, pong[4:]); err != nil {
				return nil, err
			}
			copy(pong, head[:])
			pong[0] = rawPong
			rs.control(pong)
		case rawPong:
			if _, err := rs.r.Discard(n); err != nil {
				return nil, err
			}
		default:
			return nil, &violationError{"RawSocket frame of an unknown type"}
		}
		rs.sock.heard.Store(time.Now().UnixNano())
	}
}

func (rs *rawSocket) write(p []byte) error { return rs.sock.flush(p) }

func (rs *rawSocket) frame(dst []byte, build func([]byte) ([]byte, error)) ([]byte, error) {
	start := len(dst)
	out, err := build(append(dst, rawMessage, 0, 0, 0))
	if err != nil {
		return dst, err
	}
	n := len(out) - start - 4
	out[start+1], out[start+2], out[start+3] = byte(n>>16), byte(n>>8), byte(n)
	return out, nil
}

func (rs *rawSocket) fits(length int) bool              { return length-4 <= rs.sends }
func (rs *rawSocket) closing() []byte                   { return nil }
func (rs *rawSocket) ping() []byte                      { return nil }
func (rs *rawSocket) framing() uint8                    { return framingRawSocket }
func (rs *rawSocket) serialization() wire.Serialization { return rs.ser }
func (rs *rawSocket) name() string                      { return "rawsocket" }
func (rs *rawSocket) socket() *socket                   { return rs.sock }
