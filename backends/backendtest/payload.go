package backendtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"

	"github.com/anybridge/anybridge/core"
)

// payload is the i-th ordinary payload.
func (s *suite) payload(i int) core.Payload {
	if s.Payload != nil {
		return s.Payload(i)
	}
	return core.Payload{
		Args:   fmt.Appendf(nil, `[%d,"é %d",9007199254740993,null,{"k":[1.5,true]}]`, i, i),
		Kwargs: fmt.Appendf(nil, `{"n":%d,"text":""}`, i),
	}
}

// canonical is a text that is the same for payloads that mean the same, or, on a system that
// is Exact, that are the same.
func (s *suite) canonical(p core.Payload) string {
	if s.Exact {
		return string(p.Args) + "\n" + string(p.Kwargs)
	}
	args, kwargs := canonicalJSON(p.Args), canonicalJSON(p.Kwargs)
	if args == "" {
		args = "[]"
	}
	if kwargs == "" {
		kwargs = "{}"
	}
	return args + "\n" + kwargs
}

func canonicalJSON(text json.RawMessage) string {
	if len(text) == 0 {
		return ""
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "not JSON: " + string(text)
	}
	out, err := json.Marshal(canonicalNumbers(v))
	if err != nil {
		return "not JSON: " + err.Error()
	}
	return string(out)
}

// canonicalNumbers writes every number in one way, without losing a digit.
func canonicalNumbers(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = canonicalNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = canonicalNumbers(v[k])
		}
	case json.Number:
		if f, err := v.Float64(); err != nil || f == 0 || f > 1e30 || f < -1e30 || f > -1e-30 && f < 1e-30 {
			return v // too large or small to be written out
		}
		if r, ok := new(big.Rat).SetString(string(v)); ok {
			return r.RatString()
		}
	}
	return v
}
