package lean

import (
	"encoding/json"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"
)

// Codec is one WAMP serialisation.
type Codec struct {
	Subprotocol string
	Op          byte
	Marshal     func(v any) ([]byte, error)
	Unmarshal   func(b []byte, v any) error
}

// CodecNamed returns the codec for "json" or "msgpack".
func CodecNamed(name string) (Codec, error) {
	switch name {
	case "json":
		return Codec{"wamp.2.json", OpText, json.Marshal, json.Unmarshal}, nil
	case "msgpack":
		return Codec{"wamp.2.msgpack", OpBinary, msgpack.Marshal, msgpack.Unmarshal}, nil
	}
	return Codec{}, fmt.Errorf("no serialisation %q, there are json and msgpack", name)
}
