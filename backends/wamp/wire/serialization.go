package wire

import "fmt"

// Serialization is one of the encodings of WAMP messages. The zero value is none.
type Serialization uint8

// The serialisations, numbered as the RawSocket handshake numbers them (WAMP
// specification, "RawSocket Transport").
const (
	JSON Serialization = iota + 1
	MsgPack
	CBOR
)

// String returns "json", "msgpack" or "cbor".
func (s Serialization) String() string {
	switch s {
	case JSON:
		return "json"
	case MsgPack:
		return "msgpack"
	case CBOR:
		return "cbor"
	}
	return fmt.Sprintf("serialization %d", uint8(s))
}

// Subprotocol returns the WebSocket subprotocol that selects s, e.g. "wamp.2.json"
// (WAMP specification, "WebSocket Transport"). It is empty for an invalid s.
func (s Serialization) Subprotocol() string {
	if !s.valid() {
		return ""
	}
	return "wamp.2." + s.String()
}

// Binary reports whether messages travel in binary WebSocket frames.
func (s Serialization) Binary() bool { return s == MsgPack || s == CBOR }

// RawSocketID returns the serializer number of the RawSocket handshake: 1, 2 or 3.
func (s Serialization) RawSocketID() byte { return byte(s) }

func (s Serialization) valid() bool { return s >= JSON && s <= CBOR }

// ParseSubprotocol returns the serialisation that a WebSocket subprotocol selects.
func ParseSubprotocol(name string) (Serialization, bool) {
	switch name {
	case "wamp.2.json":
		return JSON, true
	case "wamp.2.msgpack":
		return MsgPack, true
	case "wamp.2.cbor":
		return CBOR, true
	}
	return 0, false
}

// ParseRawSocketID returns the serialisation of a RawSocket serializer number.
func ParseRawSocketID(id byte) (Serialization, bool) {
	s := Serialization(id)
	return s, s.valid()
}

// Subprotocols returns the WebSocket subprotocols, the server's preference first:
// CBOR, which has a type of its own for everything the others have (byte strings,
// integers of any size), then MessagePack, then JSON. The slice is the caller's.
func Subprotocols() []string {
	return []string{CBOR.Subprotocol(), MsgPack.Subprotocol(), JSON.Subprotocol()}
}
