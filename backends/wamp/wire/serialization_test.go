package wire_test

import (
	"testing"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

func TestSerializationNames(t *testing.T) {
	for s, want := range map[wire.Serialization]struct {
		name, subprotocol string
		binary            bool
		rawSocket         byte
	}{
		wire.JSON:    {"json", "wamp.2.json", false, 1},
		wire.MsgPack: {"msgpack", "wamp.2.msgpack", true, 2},
		wire.CBOR:    {"cbor", "wamp.2.cbor", true, 3},
	} {
		if s.String() != want.name || s.Subprotocol() != want.subprotocol || s.Binary() != want.binary || s.RawSocketID() != want.rawSocket {
			t.Errorf("%v: %q %v %d", s, s.Subprotocol(), s.Binary(), s.RawSocketID())
		}
		if got, ok := wire.ParseSubprotocol(want.subprotocol); !ok || got != s {
			t.Errorf("ParseSubprotocol(%q) = %v, %v", want.subprotocol, got, ok)
		}
		if got, ok := wire.ParseRawSocketID(want.rawSocket); !ok || got != s {
			t.Errorf("ParseRawSocketID(%d) = %v, %v", want.rawSocket, got, ok)
		}
	}
	for _, name := range []string{"", "wamp.2.json.batched", "wamp.1", "json"} {
		if s, ok := wire.ParseSubprotocol(name); ok {
			t.Errorf("ParseSubprotocol(%q) = %v", name, s)
		}
	}
	for _, id := range []byte{0, 4, 255} {
		if s, ok := wire.ParseRawSocketID(id); ok {
			t.Errorf("ParseRawSocketID(%d) = %v", id, s)
		}
	}
	if got := wire.Serialization(9); got.Subprotocol() != "" || got.String() != "serialization 9" {
		t.Errorf("invalid serialization: %v %q", got, got.Subprotocol())
	}
	for _, name := range wire.Subprotocols() {
		if _, ok := wire.ParseSubprotocol(name); !ok {
			t.Errorf("Subprotocols has %q, which nobody understands", name)
		}
	}
}
