package session

import (
	"context"
	"errors"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

// Link carries the messages of one session to a router and back. The links of
// package router satisfy it as well as those that a [Dialer] makes.
type Link interface {
	// Send hands a message over, in order, and waits for room until ctx ends. After
	// an error the message was not sent. It may be called concurrently.
	Send(ctx context.Context, msg wamp.Message) error
	// Receive waits for at least one message. The slice is the caller's until the
	// next call; only one goroutine calls Receive. It returns an error, io.EOF
	// after an orderly end, when nothing more will come. A link may be of no use
	// any more after ctx has ended.
	Receive(ctx context.Context) ([]wamp.Message, error)
	// Close sends what was handed over, if that is possible within a moment, and
	// releases everything. It may be called more than once and concurrently.
	Close() error
}

// Connect opens a link on which the HELLO has been sent: the first message that
// it receives is the router's answer. It gives up when ctx ends.
type Connect func(ctx context.Context, hello *wamp.Hello) (Link, error)

// errLinkClosed is what Send returns on a link that has been closed.
var errLinkClosed = errors.New("the connection is closed")

// serializing is what links have that write bytes: the session then converts
// payloads before it waits for its turn to send.
type serializing interface {
	Serialization() wire.Serialization
}
