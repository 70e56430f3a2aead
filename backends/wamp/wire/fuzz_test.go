package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

// The corpora are in testdata/fuzz.

func FuzzDecodeJSON(f *testing.F)    { fuzzDecode(f, wire.JSON) }
func FuzzDecodeMsgPack(f *testing.F) { fuzzDecode(f, wire.MsgPack) }
func FuzzDecodeCBOR(f *testing.F)    { fuzzDecode(f, wire.CBOR) }

// fuzzDecode holds that a frame is an error or a message, which comes through every
// serialisation unchanged.
func fuzzDecode(f *testing.F, s wire.Serialization) {
	f.Fuzz(func(t *testing.T, frame []byte) {
		msg, err := wire.Decode(s, frame, wire.Limits{MaxDepth: 100})
		if err != nil {
			var e *wire.Error
			if !errors.As(err, &e) {
				t.Fatalf("error of type %T", err)
			}
			return
		}
		again := appendAs(t, s, msg)
		msg2, err := wire.Decode(s, again, wire.Limits{MaxDepth: 100})
		if err != nil {
			t.Fatalf("%q became %q: %v", frame, again, err)
		}
		if third := appendAs(t, s, msg2); !bytes.Equal(again, third) {
			t.Fatalf("unstable: %q, then %q", again, third)
		}
		if p := wire.PayloadOf(msg); p != nil {
			if _, _, err := p.Values(); err != nil {
				t.Fatalf("%q: values: %v", frame, err)
			}
		}
		for _, to := range serializations {
			translated, err := wire.Decode(to, appendAs(t, to, msg), wire.Limits{})
			if err != nil {
				t.Fatalf("%q as %v: %v", frame, to, err)
			}
			if translated.MessageType() != msg.MessageType() {
				t.Fatalf("%q as %v is %v", frame, to, translated.MessageType())
			}
		}
	})
}

func appendAs(t *testing.T, s wire.Serialization, msg wamp.Message) []byte {
	t.Helper()
	b, err := wire.Append(nil, s, msg)
	if err != nil {
		t.Fatalf("append %#v as %v: %v", msg, s, err)
	}
	return b
}

// FuzzConvert holds that what passes Validate converts to everything and back, and
// that what has come to JSON once does not change any more.
func FuzzConvert(f *testing.F) {
	f.Fuzz(func(t *testing.T, from uint8, value []byte) {
		s := serializations[from%3]
		valid := wire.Validate(s, value, wire.Limits{})
		if s == wire.JSON && valid == nil && !json.Valid(value) {
			t.Fatalf("%q is accepted, and is not JSON", value)
		}
		for _, to := range serializations {
			out, err := wire.Convert(nil, s, to, value)
			if (err == nil) != (valid == nil) {
				t.Fatalf("%v %q: validate says %v, convert to %v says %v", s, value, valid, to, err)
			}
			if err != nil {
				continue
			}
			if len(out) > 16+10*len(value) {
				t.Fatalf("%v %q: %d bytes became %d", s, value, len(value), len(out))
			}
			if err := wire.Validate(to, out, wire.Limits{}); err != nil {
				t.Fatalf("%v %q became %v %q: %v", s, value, to, out, err)
			}
			text := mustConvert(t, to, wire.JSON, out)
			if to == wire.JSON && s == wire.JSON {
				text = mustConvert(t, wire.CBOR, wire.JSON, mustConvert(t, wire.JSON, wire.CBOR, text))
			}
			if direct := mustConvert(t, s, wire.JSON, value); s == wire.MsgPack && !bytes.Equal(text, direct) {
				t.Fatalf("%v %q: %q by way of %v, else %q", s, value, text, to, direct)
			}
			cbor := mustConvert(t, wire.JSON, wire.CBOR, text)
			if back := mustConvert(t, wire.CBOR, wire.JSON, cbor); !bytes.Equal(back, text) {
				t.Fatalf("%v %q: %q, and from CBOR %q", s, value, text, back)
			}
		}
	})
}
