package session

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
)

// readPayload takes the payload out of a message as raw JSON. Plain Go values, which
// a router in this process puts into messages of its own, are encoded as they would
// be on the way to a client.
func readPayload(msg wamp.Message, args wamp.List, kwargs wamp.Dict) (core.Payload, error) {
	p := wire.PayloadOf(msg)
	if p == nil {
		if len(args) == 0 && len(kwargs) == 0 {
			return core.Payload{}, nil
		}
		var err error
		if p, err = encodePlain(args, kwargs); err != nil {
			return core.Payload{}, err
		}
	}
	var out core.Payload
	var err error
	if out.Args, err = p.Args(wire.JSON); err != nil {
		return core.Payload{}, fmt.Errorf("convert args: %w", err)
	}
	if out.Kwargs, err = p.Kwargs(wire.JSON); err != nil {
		return core.Payload{}, fmt.Errorf("convert kwargs: %w", err)
	}
	return out, nil
}

func encodePlain(args wamp.List, kwargs wamp.Dict) (*wire.Payload, error) {
	frame, err := wire.Append(nil, wire.JSON, &wamp.Yield{Request: 1, Arguments: args, ArgumentsKw: kwargs})
	if err != nil {
		return nil, err
	}
	msg, err := wire.Decode(wire.JSON, frame, wire.Limits{MaxDepth: maxPayloadDepth, MaxSize: len(frame)})
	if err != nil {
		return nil, err
	}
	return wire.PayloadOf(msg), nil
}

// newPayload is what a message carries; nil for neither args nor kwargs.
func newPayload(p core.Payload) *wire.Payload {
	if p.Args == nil && p.Kwargs == nil {
		return nil
	}
	return wire.NewPayload(wire.JSON, p.Args, p.Kwargs)
}

// checkDepth refuses what routers refuse, some of them by ending the session: more than
// wire's default of nested lists and maps.
func checkDepth(p core.Payload) error {
	for _, text := range []json.RawMessage{p.Args, p.Kwargs} {
		if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) <= safeDepth {
			continue
		}
		if err := wire.Validate(wire.JSON, text, wire.Limits{MaxSize: len(text)}); err != nil {
			return core.Errorf(core.InvalidArgument, "payload: %w", err)
		}
	}
	return nil
}

// safeDepth is how many lists and maps there may be however they are nested.
const safeDepth = 512

// payloadSize is what a message counts in a queue.
func payloadSize(msg wamp.Message) int {
	const overhead = 256
	if p := wire.PayloadOf(msg); p != nil {
		return overhead + p.Size()
	}
	return overhead
}

// detailsJSON makes the JSON object of a message's details; nil for none.
func detailsJSON(d wamp.Dict) json.RawMessage {
	if len(d) == 0 {
		return nil
	}
	text, err := json.Marshal(d)
	if err != nil { // NaN, in a detail that no protocol defines
		return nil
	}
	return text
}
