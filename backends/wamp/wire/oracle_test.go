package wire_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

// randomValue makes a value of nil, bool, int64, uint64 (beyond int64), float64,
// string, []byte, []any and map[string]any.
func randomValue(r *rand.Rand, depth int) any {
	kinds := 9
	if depth <= 0 {
		kinds = 7
	}
	switch r.IntN(kinds) {
	case 0:
		return nil
	case 1:
		return r.IntN(2) == 0
	case 2:
		return int64(r.Uint64()) >> r.IntN(64)
	case 3:
		return uint64(1)<<63 | r.Uint64()
	case 4:
		for {
			if f := math.Float64frombits(r.Uint64()); !math.IsNaN(f) && !math.IsInf(f, 0) {
				return f
			}
		}
	case 5:
		return randomString(r)
	case 6:
		b := make([]byte, r.IntN(40))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	case 7:
		l := make([]any, r.IntN(r.IntN(40)+1))
		for i := range l {
			l[i] = randomValue(r, depth-1)
		}
		return l
	default:
		m := map[string]any{}
		for range r.IntN(r.IntN(40) + 1) {
			m[randomString(r)] = randomValue(r, depth-1)
		}
		return m
	}
}

func randomString(r *rand.Rand) string {
	alphabet := []rune("abcdefghijklmnopqrstuvwxyz ABC 0123456789 \"\\/\b\f\n\r\t\x01\x1f\x7fäöü€\u2028\u2029\ufffd\uffff😀𝄞")
	var b strings.Builder
	b.WriteByte("xyz\""[r.IntN(4)]) // no NUL in front: that is a byte string in JSON
	for range r.IntN(r.IntN(300) + 1) {
		b.WriteRune(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}

// plainJSON is v as encoding/json decodes our JSON: numbers as written, byte strings
// as strings.
func plainJSON(v any) any {
	switch v := v.(type) {
	case []byte:
		return "\x00" + base64.StdEncoding.EncodeToString(v)
	case []any:
		l := make([]any, len(v))
		for i := range v {
			l[i] = plainJSON(v[i])
		}
		return l
	case map[string]any:
		m := map[string]any{}
		for k := range v {
			m[k] = plainJSON(v[k])
		}
		return m
	}
	return v
}

// fromJSON turns json.Number back into integers and floats.
func fromJSON(t *testing.T, v any) any {
	switch v := v.(type) {
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			f, err := v.Float64()
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		if i, err := v.Int64(); err == nil {
			return i
		}
		var u uint64
		if err := json.Unmarshal([]byte(v), &u); err != nil {
			t.Fatal(err)
		}
		return u
	case []any:
		for i := range v {
			v[i] = fromJSON(t, v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = fromJSON(t, v[k])
		}
	}
	return v
}

// What other libraries write we read, and what we write they read, the same value
// in all directions.
func TestOracles(t *testing.T) {
	encCBOR, err := cbor.EncOptions{ShortestFloat: cbor.ShortestFloat16}.EncMode()
	if err != nil {
		t.Fatal(err)
	}
	decCBOR, err := cbor.DecOptions{
		DefaultMapType: reflect.TypeFor[map[string]any](), UTF8: cbor.UTF8RejectInvalid,
		DupMapKey: cbor.DupMapKeyEnforcedAPF,
	}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	oracles := map[wire.Serialization]struct {
		encode func(v any) ([]byte, error)
		decode func(b []byte) (any, error)
	}{
		wire.JSON: {
			encode: func(v any) ([]byte, error) { return json.Marshal(floatsAsNumbers(plainJSON(v))) },
			decode: func(b []byte) (any, error) {
				var v any
				d := json.NewDecoder(bytes.NewReader(b))
				d.UseNumber()
				err := d.Decode(&v)
				return fromJSON(t, v), err
			},
		},
		wire.MsgPack: {
			encode: msgpack.Marshal,
			decode: func(b []byte) (any, error) {
				return msgpack.NewDecoder(bytes.NewReader(b)).DecodeInterface()
			},
		},
		wire.CBOR: {
			encode: encCBOR.Marshal,
			decode: func(b []byte) (any, error) {
				var v any
				err := decCBOR.Unmarshal(b, &v)
				return v, err
			},
		},
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		v := randomValue(r, 4)
		for from, oracle := range oracles {
			encoded, err := oracle.encode(v)
			if err != nil {
				t.Fatal(err)
			}
			if err := wire.Validate(from, encoded, wire.Limits{}); err != nil {
				t.Fatalf("%v: %v refused: %v", from, v, err)
			}
			for to, reader := range oracles {
				converted, err := wire.Convert(nil, from, to, encoded)
				if err != nil {
					t.Fatalf("%v to %v: %v: %v", from, to, v, err)
				}
				got, err := reader.decode(converted)
				if err != nil {
					t.Fatalf("%v to %v: %v is unreadable: %v", from, to, v, err)
				}
				want := v
				if to == wire.JSON {
					want = plainJSON(v)
				}
				if !reflect.DeepEqual(normalize(got), normalize(want)) {
					t.Fatalf("%v to %v:\n have %.500s\n want %.500s", from, to, fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", want))
				}
			}
		}
	}
}

// normalize makes one type of all integers that fit into int64.
func normalize(v any) any {
	switch n := reflect.ValueOf(v); {
	case n.CanInt():
		return n.Int()
	case n.CanUint() && n.Uint() <= math.MaxInt64:
		return int64(n.Uint())
	}
	switch v := v.(type) {
	case []any:
		l := make([]any, len(v))
		for i := range v {
			l[i] = normalize(v[i])
		}
		return l
	case map[string]any:
		m := map[string]any{}
		for k := range v {
			m[k] = normalize(v[k])
		}
		return m
	}
	return v
}

// floatsAsNumbers keeps encoding/json from writing 1.0 as 1.
func floatsAsNumbers(v any) any {
	switch v := v.(type) {
	case float64:
		b, _ := json.Marshal(v)
		if !bytes.ContainsAny(b, ".eE") {
			b = append(b, ".0"...)
		}
		return json.Number(b)
	case []any:
		for i := range v {
			v[i] = floatsAsNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = floatsAsNumbers(v[k])
		}
	}
	return v
}

// Our own conversions come back byte for byte, from JSON over both others, in any
// order.
func TestRoundTrips(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		first, err := cbor.Marshal(randomValue(r, 4))
		if err != nil {
			t.Fatal(err)
		}
		text := mustConvert(t, wire.CBOR, wire.JSON, first)
		b := text
		at := wire.JSON
		for range 6 {
			to := serializations[r.IntN(3)]
			b, at = mustConvert(t, at, to, b), to
		}
		if got := mustConvert(t, at, wire.JSON, b); !bytes.Equal(got, text) {
			t.Fatalf("have %s\nwant %s", got, text)
		}
	}
}

func mustConvert(tb testing.TB, from, to wire.Serialization, value []byte) []byte {
	tb.Helper()
	out, err := wire.Convert(nil, from, to, value)
	if err != nil {
		tb.Fatalf("%v to %v: %q: %v", from, to, value, err)
	}
	return out
}

// We accept what encoding/json accepts, but for the invalid UTF-8 it lets through,
// and refuse what it refuses: every mutation of a text that touches all the grammar.
func TestJSONGrammar(t *testing.T) {
	const seed = `{"a":[1,-0.5e+7,true,false,null,"x\u00e9\n"],"b":{}}`
	r := rand.New(rand.NewPCG(5, 6))
	const junk = `{}[]",:\truefalsn0123456789.+-eE "ux`
	for range 20_000 {
		b := []byte(seed)
		for range r.IntN(3) + 1 {
			switch i := r.IntN(len(b)); r.IntN(3) {
			case 0:
				b[i] = junk[r.IntN(len(junk))]
			case 1:
				b = append(b[:i], b[i+1:]...)
			default:
				b = append(b[:i], append([]byte{junk[r.IntN(len(junk))]}, b[i:]...)...)
			}
		}
		if err := wire.Validate(wire.JSON, b, wire.Limits{}); (err == nil) != json.Valid(b) {
			t.Fatalf("%q: %v, encoding/json says %v", b, err, json.Valid(b))
		}
	}
}

// Random bytes are CBOR to us exactly if they are to fxamacker/cbor, apart from what
// WAMP has no use for: keys that are neither strings nor integers.
func TestCBORGrammar(t *testing.T) {
	dec, err := cbor.DecOptions{
		MaxNestedLevels: 1000, MaxArrayElements: 1 << 20, MaxMapPairs: 1 << 20, IndefLength: cbor.IndefLengthAllowed,
	}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 8))
	accepted := 0
	for range 50_000 {
		b := make([]byte, 1+r.IntN(8))
		for i := range b {
			b[i] = byte(r.Uint32())
			if r.IntN(2) == 0 {
				b[i] = byte(r.IntN(8))<<5 | []byte{0, 1, 2, 24, 25, 31}[r.IntN(6)]
			}
		}
		err := wire.Validate(wire.CBOR, b, wire.Limits{})
		want := dec.Wellformed(b)
		if err == nil && want != nil {
			t.Fatalf("%x: accepted, fxamacker/cbor says %v", b, want)
		}
		if err != nil && want == nil && !strings.Contains(err.Error(), "map key") && !strings.Contains(err.Error(), "UTF-8") {
			t.Fatalf("%x: %v, fxamacker/cbor accepts it", b, err)
		}
		if err == nil {
			accepted++
		}
	}
	if accepted < 200 {
		t.Errorf("only %d accepted: the test is blind", accepted)
	}
}
