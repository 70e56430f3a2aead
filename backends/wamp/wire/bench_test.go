package wire_test

import (
	"testing"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

// Messages of about 200 bytes in JSON, as applications send them.
const (
	benchCall = `[48,7814135,{"receive_progress":true},"com.example.orders.create",` +
		`["order-4711",42,19.95,true,null],{"customer":"Søren","items":[{"sku":"A-100","count":2},{"sku":"B-7","count":1}]}]`
	benchEvent = `[36,5512315355,4429313566,{},` +
		`["temperature",21.5,{"sensor":"attic/3","unit":"celsius","at":"2026-03-01T12:00:00Z"}],` +
		`{"tags":["home","climate"],"sequence":190021,"ok":true}]`
)

var serializations = []wire.Serialization{wire.JSON, wire.MsgPack, wire.CBOR}

func benchFrames(tb testing.TB) map[string]map[wire.Serialization][]byte {
	tb.Helper()
	frames := map[string]map[wire.Serialization][]byte{}
	for name, text := range map[string]string{"CALL": benchCall, "EVENT": benchEvent} {
		frames[name] = map[wire.Serialization][]byte{}
		for _, s := range serializations {
			frame, err := wire.Convert(nil, wire.JSON, s, []byte(text))
			if err != nil {
				tb.Fatal(err)
			}
			frames[name][s] = frame
		}
	}
	return frames
}

var benchSizes int // keeps results alive

func BenchmarkDecode(b *testing.B) {
	benchmark(b, func(b *testing.B, s wire.Serialization, frame []byte) {
		for b.Loop() {
			if _, err := wire.Decode(s, frame, wire.Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRoute is what a router does with a message: decode it, and append it
// (here to a buffer of its own, as a transport does).
func BenchmarkRoute(b *testing.B) {
	benchmark(b, func(b *testing.B, s wire.Serialization, frame []byte) {
		var out []byte
		for b.Loop() {
			msg, err := wire.Decode(s, frame, wire.Limits{})
			if err != nil {
				b.Fatal(err)
			}
			if out, err = wire.Append(out[:0], s, msg); err != nil {
				b.Fatal(err)
			}
		}
		benchSizes += len(out)
	})
}

// BenchmarkTranslate routes between peers of different serialisations.
func BenchmarkTranslate(b *testing.B) {
	frames := benchFrames(b)
	for _, from := range serializations {
		for _, to := range serializations {
			if from == to {
				continue
			}
			b.Run(from.String()+"-"+to.String(), func(b *testing.B) {
				b.ReportAllocs()
				var out []byte
				for b.Loop() {
					msg, err := wire.Decode(from, frames["CALL"][from], wire.Limits{})
					if err != nil {
						b.Fatal(err)
					}
					if out, err = wire.Append(out[:0], to, msg); err != nil {
						b.Fatal(err)
					}
				}
				benchSizes += len(out)
			})
		}
	}
}

// BenchmarkFanout delivers one event to 1,000 subscribers of one serialisation.
func BenchmarkFanout(b *testing.B) {
	frame := benchFrames(b)["EVENT"][wire.JSON]
	b.ReportAllocs()
	for b.Loop() {
		msg, err := wire.Decode(wire.JSON, frame, wire.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		p := wire.PayloadOf(msg)
		key := wire.FrameKey{Serialization: wire.CBOR, Subscription: 1, Publication: 2}
		for range 1000 {
			out, err := p.Frame(key, func() ([]byte, error) { return wire.Append(nil, wire.CBOR, msg) })
			if err != nil {
				b.Fatal(err)
			}
			benchSizes += len(out)
		}
	}
}

func benchmark(b *testing.B, run func(*testing.B, wire.Serialization, []byte)) {
	b.Helper()
	for name, frames := range benchFrames(b) {
		for _, s := range serializations {
			b.Run(name+"/"+s.String(), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(frames[s])))
				run(b, s, frames[s])
			})
		}
	}
}
