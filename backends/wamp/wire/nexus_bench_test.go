package wire_test

import (
	"testing"

	"github.com/gammazero/nexus/v3/transport/serialize"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

func nexusSerializer(s wire.Serialization) serialize.Serializer {
	switch s {
	case wire.JSON:
		return &serialize.JSONSerializer{}
	case wire.MsgPack:
		return &serialize.MessagePackSerializer{}
	default:
		return &serialize.CBORSerializer{}
	}
}

// BenchmarkNexusDecode is the peer of BenchmarkDecode.
func BenchmarkNexusDecode(b *testing.B) {
	benchmark(b, func(b *testing.B, s wire.Serialization, frame []byte) {
		nexus := nexusSerializer(s)
		for b.Loop() {
			if _, err := nexus.Deserialize(frame); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkNexusRoute is the peer of BenchmarkRoute.
func BenchmarkNexusRoute(b *testing.B) {
	benchmark(b, func(b *testing.B, s wire.Serialization, frame []byte) {
		nexus := nexusSerializer(s)
		for b.Loop() {
			msg, err := nexus.Deserialize(frame)
			if err != nil {
				b.Fatal(err)
			}
			out, err := nexus.Serialize(msg)
			if err != nil {
				b.Fatal(err)
			}
			benchSizes += len(out)
		}
	})
}
