package session

import (
	"errors"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

// damaged stands for a message that could not be read because of the payload that
// some other client put into it. One hostile client must not cost the session.
type damaged struct {
	kind wamp.MessageType
	err  error
}

// MessageType is the type of the message that could not be read.
func (d *damaged) MessageType() wamp.MessageType { return d.kind }

// decode reads a message. What the router itself said must be right; an EVENT,
// INVOCATION, RESULT or ERROR that cannot be read becomes a *damaged.
func decode(s wire.Serialization, frame []byte, limits wire.Limits) (wamp.Message, error) {
	msg, err := wire.Decode(s, frame, limits)
	if err == nil {
		return msg, nil
	}
	if e, ok := errors.AsType[*wire.Error](err); ok {
		switch e.Type {
		case wamp.EVENT, wamp.INVOCATION, wamp.RESULT, wamp.ERROR:
			return &damaged{kind: e.Type, err: err}, nil
		}
	}
	return nil, err
}
