package session

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

// The RawSocket transport (WAMP specification, "RawSocket Transport").
const (
	rawMagic      = 0x7f
	rawHeader     = 4
	rawMaxMessage = 1<<24 - 1 // what 24 bits of length can say
	rawMaxLength  = 0xf       // 2^(9+15): the most a peer can announce

	rawMessage, rawPing, rawPong = 0, 1, 2
)

// rawLink is a session's link over RawSocket. It sends no PING: common routers
// (Crossbar among them) take one for an overlong message. A dead peer is found by
// TCP keep-alive and by write deadlines; PINGs from the router are answered.
type rawLink struct {
	*outbox
	reader *bufio.Reader
	limits wire.Limits
	batch  []wamp.Message
}

// rawSerializerError says that the router does not know the serialisation.
type rawSerializerError struct{ s wire.Serialization }

func (e rawSerializerError) Error() string {
	return fmt.Sprintf("the router does not speak %v over RawSocket", e.s)
}

// newRawLink does the handshake on a fresh connection, which it takes over unless
// it returns an error. The deadline of the handshake is the connection's.
func newRawLink(conn *netConn, s wire.Serialization, limits wire.Limits) (*rawLink, error) {
	if _, err := conn.Write([]byte{rawMagic, rawMaxLength<<4 | s.RawSocketID(), 0, 0}); err != nil {
		return nil, fmt.Errorf("write handshake: %w", err)
	}
	var answer [4]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, fmt.Errorf("read handshake: %w", err)
	}
	if answer[0] != rawMagic {
		return nil, fmt.Errorf("read handshake: first byte is %#x: not a RawSocket router", answer[0])
	}
	switch id := answer[1] & 0xf; id {
	case s.RawSocketID():
	case 0:
		if code := answer[1] >> 4; code != 1 {
			return nil, fmt.Errorf("handshake refused: %s", rawRefusal(code))
		}
		return nil, rawSerializerError{s}
	default:
		return nil, fmt.Errorf("read handshake: the router chose serializer %d", id)
	}
	l := &rawLink{reader: bufio.NewReaderSize(conn, 64<<10), limits: limits}
	l.outbox = newOutbox(s, rawHeader, min(1<<(9+answer[1]>>4), rawMaxMessage), conn, l)
	return l, nil
}

func rawRefusal(code byte) string {
	switch code {
	case 2:
		return "maximum message length unacceptable"
	case 3:
		return "use of reserved bits"
	case 4:
		return "maximum connection count reached"
	}
	return fmt.Sprintf("error %d", code)
}

// writeFrame fills in the length; what kind of frame it is stands in the first byte.
func (l *rawLink) writeFrame(frame []byte) error {
	size := len(frame) - rawHeader // fits into 24 bits: see Send
	frame[1], frame[2], frame[3] = byte(size>>16), byte(size>>8), byte(size)
	_, err := l.conn.Write(frame)
	return err
}

func (l *rawLink) farewell() {}

// Receive implements Link: it returns the messages that have arrived completely.
func (l *rawLink) Receive(ctx context.Context) ([]wamp.Message, error) {
	defer l.abandon(ctx)()
	clear(l.batch)
	l.batch = l.batch[:0]
	for {
		msg, err := l.receive()
		if err != nil {
			return nil, readError(ctx, err)
		}
		if msg != nil {
			l.batch = append(l.batch, msg)
		}
		if len(l.batch) > 0 && !l.frameReady() {
			return l.batch, nil
		}
	}
}

// frameReady reports whether a whole frame can be read without waiting.
func (l *rawLink) frameReady() bool {
	buffered := l.reader.Buffered()
	if buffered < rawHeader {
		return false
	}
	head, err := l.reader.Peek(rawHeader)
	return err == nil && buffered-rawHeader >= frameLength(head)
}

func frameLength(head []byte) int { return int(binary.BigEndian.Uint32(head) & rawMaxMessage) }

// receive reads one frame; the message is nil if it was something else.
func (l *rawLink) receive() (wamp.Message, error) {
	var head [rawHeader]byte
	if _, err := io.ReadFull(l.reader, head[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, rawHeader+frameLength(head[:]))
	if _, err := io.ReadFull(l.reader, frame[rawHeader:]); err != nil {
		return nil, err
	}
	switch head[0] & 0x7 {
	case rawMessage:
		return decode(l.serialization, frame[rawHeader:], l.limits)
	case rawPing:
		// With a full outbox there is traffic enough to show that we live.
		frame[0] = rawPong
		l.pipe.TryPut(&frame, len(frame))
	}
	return nil, nil
}
