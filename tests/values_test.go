package tests

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/gammazero/nexus/v3/transport/serialize"
)

// value is something that must cross the bridge unharmed.
type value struct {
	name string
	json string // in a request or a callback of the REST API
	seen string // how a WAMP client sees it, as the client programs describe it
	sent any    // what a client program is told to send, see python/values.py
	not  func(client) bool
}

// values are all of them. The last field says which clients cannot: what they get or
// send is then another value already within the client's own library.
func values() []value {
	nested := strings.Repeat("[", 60) + strings.Repeat("]", 60)
	large := func(c client) bool { return !c.bigNumbers }
	integer := func(s string) any { return object{"$int": s} }
	return []value{
		{"a small integer", "1", "1", 1, nil},
		{"a negative integer", "-42", "-42", -42, nil},
		{"2^53+1", "9007199254740993", "9007199254740993", integer("9007199254740993"), large},
		{"2^63-1", "9223372036854775807", "9223372036854775807", integer("9223372036854775807"), large},
		{"2^64-1", "18446744073709551615", "18446744073709551615", integer("18446744073709551615"), large},
		{"-2^63", "-9223372036854775808", "-9223372036854775808", integer("-9223372036854775808"), large},
		{"a fraction", "0.1", "0.1", 0.1, nil},
		{"a negative fraction", "-2.5", "-2.5", -2.5, nil},
		{"the largest fraction", "1.7976931348623157e+308", "1.7976931348623157e+308", 1.7976931348623157e308, nil},
		{"true and false", "[true,false]", "[true,false]", []any{true, false}, nil},
		{"null", "null", "null", nil, nil},
		{"an empty list", "[]", "[]", []any{}, nil},
		{"an empty object", "{}", "{}", object{}, nil},
		{"an empty string", `""`, `""`, "", nil},
		{"a line separator", `"a\u2028b\u2029"`, `"a\u2028b\u2029"`, "a\u2028b\u2029", nil},
		{"an astral character", `"\ud83d\ude9c"`, `"\ud83d\ude9c"`, "🚜", nil},
		{"quotes and controls", `"\"\\\u0001\n"`, `"\"\\\u0001\n"`, "\"\\\u0001\n", nil},
		{"deep nesting", nested, nested, json.RawMessage(nested), nil},
		{"an object", `{"k":[{"l":null}]}`, `{"k":[{"l":null}]}`, json.RawMessage(`{"k":[{"l":null}]}`), nil},
		{"keys in their order", `{"z":1,"a":{"y":2,"b":3}}`, `{"z":1,"a":{"y":2,"b":3}}`,
			json.RawMessage(`{"z":1,"a":{"y":2,"b":3}}`), func(c client) bool { return !c.keyOrder }},
		// WAMP's convention for JSON: a string of NUL and base64 is a string of bytes.
		{"bytes", `"\u0000AQL/"`, "bytes(0102ff)", object{"$bytes": "0102ff"}, func(c client) bool { return !c.bytes }},
		{"no bytes", `"\u0000"`, "bytes()", object{"$bytes": ""}, func(c client) bool { return !c.bytes }},
		{"bytes that stay text", `"\u0000AQL/"`, `"\u0000AQL/"`, "\x00AQL/", func(c client) bool { return c.bytes }},
	}
}

// valuesOf are those that the client can carry.
func valuesOf(c client) []value {
	return slices.DeleteFunc(values(), func(v value) bool { return v.not != nil && v.not(c) })
}

// describeJSON describes JSON as the client programs describe what they received,
// keys in their order and digits as they are.
func describeJSON(text json.RawMessage) string {
	if len(text) == 0 {
		return "nothing"
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var b strings.Builder
	if err := describeNext(d, &b); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Sprintf("%q, which is no JSON: %v", text, err)
	}
	return b.String()
}

func describeNext(d *json.Decoder, b *strings.Builder) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		b.WriteString(describe(token))
		return nil
	}
	b.WriteString(delim.String())
	for n := 0; d.More(); n++ {
		if n > 0 {
			b.WriteByte(',')
		}
		if delim == '{' {
			key, err := d.Token()
			if err != nil {
				return err
			}
			b.WriteString(describe(key) + ":")
		}
		if err := describeNext(d, b); err != nil {
			return err
		}
	}
	end, err := d.Token()
	if err == nil {
		b.WriteString(end.(json.Delim).String())
	}
	return err
}

// describe describes a value that the nexus client received. Go's maps have lost the
// order of their keys: it is that of the alphabet.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			f, _ := v.Float64()
			return describe(f)
		}
		return v.String()
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return describeString(v)
	case []byte:
		return "bytes(" + hex.EncodeToString(v) + ")"
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = describe(item)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, describe(key)+":"+describe(v[key]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	return fmt.Sprint(v)
}

func describeString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, unit := range utf16.Encode([]rune(s)) {
		switch unit {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteByte(byte(unit))
		case '\n':
			b.WriteString(`\n`)
		default:
			if unit < ' ' || unit >= 0x80 {
				fmt.Fprintf(&b, `\u%04x`, unit)
			} else {
				b.WriteByte(byte(unit))
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}

// untag turns what a client program would be told to send into what the nexus client
// sends.
func untag(text json.RawMessage, serializer string) any {
	if len(text) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(err)
	}
	return untagValue(v, serializer)
}

func untagValue(v any, serializer string) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if n, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = untagValue(v[i], serializer)
		}
		return v
	case map[string]any:
		if digits, ok := v["$int"].(string); ok {
			return untagValue(json.Number(digits), serializer)
		}
		if digits, ok := v["$bytes"].(string); ok {
			data, _ := hex.DecodeString(digits)
			if serializer == "json" {
				return serialize.BinaryData(data)
			}
			return data
		}
		for key := range v {
			v[key] = untagValue(v[key], serializer)
		}
		return v
	}
	return v
}

// tagged turns what the nexus client received into what a client program would write.
func tagged(v any) json.RawMessage {
	switch v := v.(type) {
	case []byte:
		return raw("\x00" + base64.StdEncoding.EncodeToString(v))
	case []any:
		parts := make([]json.RawMessage, len(v))
		for i, item := range v {
			parts[i] = tagged(item)
		}
		return raw(parts)
	case map[string]any:
		parts := map[string]json.RawMessage{}
		for key, item := range v {
			parts[key] = tagged(item)
		}
		return raw(parts)
	}
	return raw(v)
}
