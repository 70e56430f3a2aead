package session

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
)

const (
	outboxItems = 1 << 16
	outboxBytes = 16 << 20

	// writeTimeout is how long a router may take no bytes before the connection
	// counts as lost.
	writeTimeout = 30 * time.Second
	// flushTimeout is how long Close waits for what is still to be written.
	flushTimeout = 2 * time.Second

	// maxKeptFrame is the largest frame buffer that is used again.
	maxKeptFrame = 64 << 10
)

// framing is how a transport puts encoded messages on the connection. Both methods
// are called by one goroutine.
type framing interface {
	// writeFrame writes one frame, whose first bytes are the prefix.
	writeFrame(frame []byte) error
	// farewell says what the transport says at the end.
	farewell()
}

// outbox encodes the messages of a network link where they are sent, and writes
// them in batches from a goroutine of its own.
type outbox struct {
	serialization wire.Serialization
	prefix        int // bytes reserved in front of each frame, zero
	limit         int // the longest message the peer takes
	conn          *netConn
	framing       framing

	pipe    *core.Pipe[*[]byte]
	buffers sync.Pool
	done    chan struct{} // closed when the writer has ended
	once    sync.Once
}

func newOutbox(s wire.Serialization, prefix, limit int, conn *netConn, f framing) *outbox {
	o := &outbox{
		serialization: s, prefix: prefix, limit: limit, conn: conn, framing: f,
		pipe:    core.NewPipe[*[]byte](outboxItems, outboxBytes, nil),
		buffers: sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }},
		done:    make(chan struct{}),
	}
	go o.run()
	return o
}

// Serialization is what the link writes.
func (o *outbox) Serialization() wire.Serialization { return o.serialization }

// Send implements Link. A message that cannot be encoded, or that is longer than
// the peer accepts, is a *core.Error.
func (o *outbox) Send(ctx context.Context, msg wamp.Message) error {
	buf := o.buffers.Get().(*[]byte) //nolint:forcetypeassert // see New
	frame := (*buf)[:o.prefix]       // there is room: see New
	clear(frame)
	frame, err := wire.Append(frame, o.serialization, msg)
	if err != nil {
		return core.Errorf(core.InvalidArgument, "encode %s: %w", msg.MessageType(), err)
	}
	if size := len(frame) - o.prefix; size > o.limit {
		return core.Errorf(core.TooLarge, "%s of %d bytes: the router takes at most %d", msg.MessageType(), size, o.limit)
	}
	*buf = frame
	return o.pipe.Put(ctx, buf, len(frame))
}

// run writes until the pipe ends or the connection fails, and closes it then.
func (o *outbox) run() {
	defer close(o.done)
	defer o.conn.Close()
	for {
		frames, err := o.pipe.Next(context.Background())
		if err != nil {
			o.framing.farewell()
			return
		}
		if err := o.writeBatch(frames); err != nil {
			o.pipe.End(errLinkClosed)
			return
		}
		for _, f := range frames {
			if cap(*f) <= maxKeptFrame {
				o.buffers.Put(f)
			}
		}
	}
}

func (o *outbox) writeBatch(frames []*[]byte) error {
	if err := o.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	o.conn.hold()
	for _, f := range frames {
		if err := o.framing.writeFrame(*f); err != nil {
			return err
		}
	}
	return o.conn.flush()
}

// Close implements Link.
func (o *outbox) Close() error {
	o.once.Do(func() {
		o.conn.endWrites(time.Now().Add(flushTimeout))
		o.pipe.End(errLinkClosed)
	})
	<-o.done
	return nil
}

// abandon closes the connection when ctx ends, until stop is called.
func (o *outbox) abandon(ctx context.Context) (stop func() bool) {
	if ctx.Done() == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, func() { _ = o.conn.Close() })
}

// readError turns the error of a read into what Receive returns.
func readError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF):
		return io.EOF
	}
	return err
}
