package irc

import (
	"crypto/tls"
	"encoding/json"

	"github.com/anybridge/anybridge/plugins/kit"
)

// TLSConfig says whether to use TLS, and how.
type TLSConfig struct {
	kit.TLS

	off    bool
	config *tls.Config
}

// DecodeConfig implements kit.Decoder: false, true, or a map.
func (t *TLSConfig) DecodeConfig(m *kit.Mistakes, place string, data json.RawMessage) {
	var on bool
	if json.Unmarshal(data, &on) == nil {
		t.off = !on
		return
	}
	m.Decode(place, data, &t.TLS)
}

func (t *TLSConfig) port() string {
	if t.off {
		return "6667"
	}
	return "6697"
}

// load reads the files.
func (t *TLSConfig) load(m *kit.Mistakes) {
	if !t.off {
		t.config = t.Load(m, "tls")
	}
}
