package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

const (
	// pingInterval is how often a ping is sent, pongTimeout how long nothing may
	// arrive, not even a pong, before the connection counts as lost.
	pingInterval = 20 * time.Second
	pongTimeout  = 60 * time.Second
)

// webLink is a session's link over a WebSocket (WAMP specification, "WebSocket
// Transport"): one message is one frame.
type webLink struct {
	*outbox
	ws      *websocket.Conn
	kind    int // of the frames: text or binary
	limits  wire.Limits
	scratch bytes.Buffer
	one     [1]wamp.Message
	heard   time.Time // when the read deadline was last moved

	stop   chan struct{}
	once   sync.Once
	pinger sync.WaitGroup
}

// newWebLink takes over a WebSocket that has been opened on conn.
func newWebLink(ws *websocket.Conn, conn *netConn, s wire.Serialization, limits wire.Limits) *webLink {
	l := &webLink{ws: ws, kind: websocket.TextMessage, limits: limits, stop: make(chan struct{})}
	if s.Binary() {
		l.kind = websocket.BinaryMessage
	}
	ws.SetReadLimit(int64(limits.MaxSize))
	ws.SetPongHandler(func(string) error { return l.alive() })
	_ = l.alive()
	l.outbox = newOutbox(s, 0, limits.MaxSize, conn, l)
	l.pinger.Go(l.ping)
	return l
}

func (l *webLink) writeFrame(frame []byte) error {
	_ = l.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
	return l.ws.WriteMessage(l.kind, frame)
}

// farewell is the first half of the closing handshake.
func (l *webLink) farewell() {
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = l.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(flushTimeout))
}

func (l *webLink) ping() {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = l.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(pingInterval))
		case <-l.stop:
			return
		}
	}
}

// alive moves the read deadline; the reading goroutine calls it.
func (l *webLink) alive() error {
	l.heard = time.Now()
	return l.ws.SetReadDeadline(l.heard.Add(pongTimeout))
}

// Receive implements Link.
func (l *webLink) Receive(ctx context.Context) ([]wamp.Message, error) {
	defer l.abandon(ctx)()
	kind, r, err := l.ws.NextReader()
	if err == nil {
		l.scratch.Reset()
		_, err = l.scratch.ReadFrom(r)
	}
	if err != nil {
		if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway) {
			return nil, io.EOF
		}
		return nil, readError(ctx, err)
	}
	if kind != l.kind {
		return nil, errors.New("the router mixes text and binary frames")
	}
	if time.Since(l.heard) > pingInterval/4 {
		_ = l.alive()
	}
	l.one[0], err = decode(l.serialization, bytes.Clone(l.scratch.Bytes()), l.limits)
	if l.scratch.Cap() > maxKeptFrame {
		l.scratch = bytes.Buffer{}
	}
	if err != nil {
		return nil, err
	}
	return l.one[:], nil
}

// Close implements Link.
func (l *webLink) Close() error {
	l.once.Do(func() { close(l.stop) })
	err := l.outbox.Close()
	l.pinger.Wait()
	return err
}
