package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

// Every row is one value in three spellings, each of which converts to the others
// (and to itself) byte for byte.
var equivalents = []struct{ name, json, msgpack, cbor string }{
	{"null", `null`, "c0", "f6"},
	{"false", `false`, "c2", "f4"},
	{"true", `true`, "c3", "f5"},

	{"zero", `0`, "00", "00"},
	{"1 byte", `23`, "17", "17"},
	{"2 bytes in CBOR", `24`, "18", "1818"},
	{"int8 max", `127`, "7f", "187f"},
	{"uint8 max", `255`, "ccff", "18ff"},
	{"uint16 max", `65535`, "cdffff", "19ffff"},
	{"uint32 max", `4294967295`, "ceffffffff", "1affffffff"},
	{"2^53", `9007199254740992`, "cf0020000000000000", "1b0020000000000000"},
	{"2^53+1", `9007199254740993`, "cf0020000000000001", "1b0020000000000001"},
	{"int64 max", `9223372036854775807`, "cf7fffffffffffffff", "1b7fffffffffffffff"},
	{"uint64 max", `18446744073709551615`, "cfffffffffffffffff", "1bffffffffffffffff"},
	{"minus one", `-1`, "ff", "20"},
	{"-32", `-32`, "e0", "381f"},
	{"-33", `-33`, "d0df", "3820"},
	{"int8 min", `-128`, "d080", "387f"},
	{"int16 min", `-32768`, "d18000", "397fff"},
	{"int32 min", `-2147483648`, "d280000000", "3a7fffffff"},
	{"-2^53-1", `-9007199254740993`, "d3ffdfffffffffffff", "3b0020000000000000"},
	{"int64 min", `-9223372036854775808`, "d38000000000000000", "3b7fffffffffffffff"},

	{"integral float", `1.0`, "cb3ff0000000000000", "fb3ff0000000000000"},
	{"negative zero", `-0.0`, "cb8000000000000000", "fb8000000000000000"},
	{"0.1", `0.1`, "cb3fb999999999999a", "fb3fb999999999999a"},
	{"large float", `1e+21`, "cb444b1ae4d6e2ef50", "fb444b1ae4d6e2ef50"},
	{"largest float", `1.7976931348623157e+308`, "cb7fefffffffffffff", "fb7fefffffffffffff"},
	{"smallest float", `5e-324`, "cb0000000000000001", "fb0000000000000001"},

	{"empty string", `""`, "a0", "60"},
	{"quotes and controls", `"\"\\\b\f\n\r\t\u001f/"`, "a9225c080c0a0d091f2f", "69225c080c0a0d091f2f"},
	{"umlaut", `"ü"`, "a2c3bc", "62c3bc"},
	{"line separator", "\"\u2028\"", "a3e280a8", "63e280a8"},
	{"astral", `"😀"`, "a4f09f9880", "64f09f9880"},
	{"NUL inside", `"a\u0000b"`, "a3610062", "63610062"},
	{"NUL, then no base64", `"\u0000a"`, "a20061", "620061"},
	{"NUL, then base64 with a newline", `"\u0000AA==\n"`, "a60041413d3d0a", "660041413d3d0a"},
	{"NUL, then base64 with stray bits", `"\u0000AB==\u0000"`, "a60041423d3d00", "660041423d3d00"},

	{"empty bytes", `"\u0000"`, "c400", "40"},
	{"bytes", `"\u0000EOP/kFMHXFJvX8BtT+N82w=="`, "c41010e3ff9053075c526f5fc06d4fe37cdb", "5010e3ff9053075c526f5fc06d4fe37cdb"},

	{"empty list", `[]`, "90", "80"},
	{"empty map", `{}`, "80", "a0"},
	{"nested", `[1,[2,[],{"a":{"b":[null]}}]]`, "920193029081a16181a16291c0", "8201830280a16161a1616281f6"},
	{"key order", `{"b":1,"a":2,"aa":3}`, "83a16201a16102a2616103", "a361620161610262616103"},
	{"duplicate keys", `{"a":1,"a":2}`, "82a16101a16102", "a2616101616102"},
	{"key with NUL and base64", `{"\u0000AA==":1}`, "81a50041413d3d01", "a1650041413d3d01"},
}

func TestConvertEquivalents(t *testing.T) {
	rows := slices.Clone(equivalents)
	for _, n := range []int{15, 16, 23, 24, 31, 32, 255, 256, 65535, 65536} {
		rows = append(rows, longRows(n)...)
	}
	for _, row := range rows {
		spelling := map[wire.Serialization][]byte{
			wire.JSON: []byte(row.json), wire.MsgPack: unhex(t, row.msgpack), wire.CBOR: unhex(t, row.cbor),
		}
		for _, from := range serializations {
			for _, to := range serializations {
				got, err := wire.Convert([]byte("dst "), from, to, spelling[from])
				if err != nil {
					t.Errorf("%s: %v to %v: %v", row.name, from, to, err)
					continue
				}
				if want := append([]byte("dst "), spelling[to]...); !bytes.Equal(got, want) {
					t.Errorf("%s: %v to %v:\n have %.200q\n want %.200q", row.name, from, to, got, want)
				}
			}
		}
	}
}

// longRows spells strings, byte strings, lists and maps of n, whose heads are the
// shortest ones.
func longRows(n int) []struct{ name, json, msgpack, cbor string } {
	head := func(short, short8, wide string, room int) string {
		switch {
		case n < room:
			var first [1]byte
			hex.Decode(first[:], []byte(short))
			return fmt.Sprintf("%02x", int(first[0])|n)
		case n < 256 && short8 != "":
			return fmt.Sprintf("%s%02x", short8, n)
		}
		var next [1]byte
		hex.Decode(next[:], []byte(wide))
		if n < 65536 {
			return fmt.Sprintf("%02x%04x", next[0], n)
		}
		return fmt.Sprintf("%02x%08x", next[0]+1, n)
	}
	ones, x := strings.Repeat("01", n), strings.Repeat("78", n)
	entries := strings.Repeat(`"x":1,`, n)
	return []struct{ name, json, msgpack, cbor string }{
		{
			fmt.Sprintf("string of %d", n), `"` + strings.Repeat("x", n) + `"`,
			head("a0", "d9", "da", 32) + x, head("60", "78", "79", 24) + x,
		}, {
			fmt.Sprintf("list of %d", n), "[" + strings.TrimSuffix(strings.Repeat("1,", n), ",") + "]",
			head("90", "", "dc", 16) + ones, head("80", "98", "99", 24) + ones,
		}, {
			fmt.Sprintf("map of %d", n), "{" + strings.TrimSuffix(entries, ",") + "}",
			head("80", "", "de", 16) + strings.Repeat("a17801", n), head("a0", "b8", "b9", 24) + strings.Repeat("617801", n),
		}, {
			fmt.Sprintf("list of %d within lists", n),
			"[[" + strings.TrimSuffix(strings.Repeat("[1],", n), ",") + "],2]",
			"92" + head("90", "", "dc", 16) + strings.Repeat("9101", n) + "02",
			"82" + head("80", "98", "99", 24) + strings.Repeat("8101", n) + "02",
		},
	}
}

// Conversions that change the type or the spelling. Binary spellings are in hex.
func TestConvertOneWay(t *testing.T) {
	const j, m, c = wire.JSON, wire.MsgPack, wire.CBOR
	big := strings.Repeat("9", 20_000)
	for _, tt := range []struct {
		name     string
		from, to wire.Serialization
		in, want string
	}{
		{"whitespace stays in the identity", j, j, " [ 1 ,\n{ } ] ", " [ 1 ,\n{ } ] "},
		{"whitespace is dropped", j, c, " [ 1 ,\n{ \"a\" : null } ] ", "8201a16161f6"},
		{"escapes stay in the identity", j, j, `"\u00e9\/\ud800"`, `"\u00e9\/\ud800"`},
		{"escapes", j, m, `"\u00e9\/\u0041"`, "a4c3a92f41"},
		{"surrogate pair", j, c, `"\ud83d\ude00"`, "64f09f9880"},
		{"lone high surrogate", j, c, `"a\ud800b"`, "6561efbfbd62"},
		{"lone low surrogate", j, m, `"\ude00"`, "a3efbfbd"},
		{"two high surrogates", j, m, `"\ud83d\ud83d\ude00"`, "a7efbfbdf09f9880"},
		{"high surrogate, then another escape", j, m, `"\ud83d\n"`, "a4efbfbd0a"},

		{"integer minus zero", j, m, `-0`, "00"},
		{"exponent is a float", j, m, `1e3`, "cb408f400000000000"},
		{"exponent is a float, back", m, j, "cb408f400000000000", `1000.0`},
		{"too large for a double", j, m, `1e400`, "a5" + "3165343030"},
		{"too large for a double, negative", j, c, `-1E+400`, "67" + "2d31452b343030"},
		{"underflow", j, c, `1e-400`, "fb0000000000000000"},
		{"more digits than a double has", j, c, `0.1000000000000000055511151231257827`, "fb3fb999999999999a"},

		{"2^64", j, c, `18446744073709551616`, "c249010000000000000000"},
		{"2^64, back", c, j, "c249010000000000000000", `18446744073709551616`},
		{"2^64 in MessagePack", j, m, `18446744073709551616`, "b4" + hex.EncodeToString([]byte("18446744073709551616"))},
		{"2^64 from CBOR to MessagePack", c, m, "c249010000000000000000", "b4" + hex.EncodeToString([]byte("18446744073709551616"))},
		{"-2^64 is no bignum", j, c, `-18446744073709551616`, "3bffffffffffffffff"},
		{"-2^64, back", c, j, "3bffffffffffffffff", `-18446744073709551616`},
		{"-2^64 in MessagePack", c, m, "3bffffffffffffffff", "b5" + hex.EncodeToString([]byte("-18446744073709551616"))},
		{"-2^63-1 in MessagePack", j, m, `-9223372036854775809`, "b4" + hex.EncodeToString([]byte("-9223372036854775809"))},
		{"-2^64-1", j, c, `-18446744073709551617`, "c349010000000000000000"},
		{"-2^64-1, back", c, j, "c349010000000000000000", `-18446744073709551617`},
		{"small bignum", c, j, "c2420100", `256`},
		{"bignum with leading zeros", c, m, "c24a0000000000000000002a", "2a"},
		{"empty bignum", c, j, "c240", `0`},
		{"negative empty bignum", c, j, "c340", `-1`},
		{"bignum in chunks", c, j, "c25f41014100ff", `256`},
		{"bignum tag on something else", c, j, "c201", `1`},
		{"enormous integer", j, c, big, "79" + fmt.Sprintf("%04x", len(big)) + hex.EncodeToString([]byte(big))},
		{"enormous bignum", c, j, "c2591b58" + strings.Repeat("ff", 7000), `"0x` + strings.Repeat("ff", 7000) + `"`},
		{"enormous negative bignum", c, j, "c3591b58" + strings.Repeat("ff", 7000), `"-0x1` + strings.Repeat("00", 7000) + `"`},

		{"float16", c, j, "f93e00", `1.5`},
		{"float16 subnormal", c, j, "f90001", `5.960464477539063e-08`},
		{"float16 negative zero", c, j, "f98000", `-0.0`},
		{"float16 infinity", c, m, "f9fc00", "cbfff0000000000000"},
		{"float16 NaN", c, j, "f97e00", `null`},
		{"float32", c, m, "fa3fc00000", "cb3ff8000000000000"},
		{"float32 0.1 is that very double", m, j, "ca3dcccccd", `0.10000000149011612`},
		{"infinity", m, j, "cb7ff0000000000000", `null`},
		{"infinity, binary", m, c, "cb7ff0000000000000", "fb7ff0000000000000"},
		{"NaN", c, j, "fb7ff8000000000000", `null`},

		{"undefined", c, j, "f7", `null`},
		{"unassigned simple value", c, j, "f0", `null`},
		{"unassigned simple value, two bytes", c, m, "f8ff", "c0"},
		{"date text", c, j, "c074323031332d30332d32315432303a30343a30305a", `"2013-03-21T20:04:00Z"`},
		{"date number", c, j, "c11a514b67b0", `1363896240`},
		{"self-described", c, j, "d9d9f78101", `[1]`},
		{"tags on tags", c, m, "d8ffd8fe01", "01"},
		{"tagged key", c, j, "a1d8ff616101", `{"a":1}`},
		{"indefinite list", c, j, "9f0102ff", `[1,2]`},
		{"indefinite list becomes definite", c, m, "9f0102ff", "920102"},
		{"indefinite list of 16", c, m, "9f" + strings.Repeat("01", 16) + "ff", "dc0010" + strings.Repeat("01", 16)},
		{"indefinite map", c, m, "bf616101ff", "81a16101"},
		{"indefinite empty", c, j, "829fffbfff", `[[],{}]`},
		{"indefinite string", c, j, "7f6161626263ff", `"abc"`},
		{"indefinite key", c, m, "a17f6161626263ff01", "81a361626301"},
		{"indefinite bytes", c, m, "5f41014102ff", "c4020102"},
		{"indefinite bytes, none", c, j, "5fff", `"\u0000"`},
		{"integer keys", c, j, "a201022003", `{"1":2,"-1":3}`},
		{"integer keys, MessagePack", m, c, "8201020003", "a261310261" + "3003"},
		{"negative integer key", m, j, "81ff01", `{"-1":1}`},

		{"not the shortest forms", m, c, "dd00000001" + "d90161", "816161"},
		{"signed where unsigned would do", m, j, "94d001d10001d200000001d30000000000000001", `[1,1,1,1]`},
		{"str 32, bin 32, map 32", m, j, "93db0000000161c60000000101df00000001a16101", `["a","\u0000AQ==",{"a":1}]`},
		{"timestamp 32", m, j, "d6ff514b67b0", `"2013-03-21T20:04:00Z"`},
		{"timestamp 64", m, j, "d7ff" + "77359400514b67b0", `"2013-03-21T20:04:00.5Z"`},
		{"timestamp 96", m, c, "c70cff" + "00000001" + "fffffffffffffffe", "781e" + hex.EncodeToString([]byte("1969-12-31T23:59:58.000000001Z"))},
		{"timestamp beyond year 9999", m, j, "c70cff" + "00000000" + "7fffffffffffffff", `"\u0000AAAAAH//////////"`},
		{"fixext 1", m, c, "d40501", "4101"},
		{"fixext 16", m, c, "d805" + strings.Repeat("01", 16), "50" + strings.Repeat("01", 16)},
		{"ext 8", m, j, "c7030510e3ff", `"\u0000EOP/"`},
		{"ext 32", m, c, "c90000000005", "40"},
		{"extensions stay in the identity", m, m, "d6ff514b67b0", "d6ff514b67b0"},
		{"NUL text of a binary format", m, j, "a20041", `"\u0000A"`},
	} {
		in, want := []byte(tt.in), []byte(tt.want)
		if tt.from != j {
			in = unhex(t, tt.in)
		}
		if tt.to != j {
			want = unhex(t, tt.want)
		}
		got, err := wire.Convert(nil, tt.from, tt.to, in)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s: %v to %v:\n have %.200q\n want %.200q", tt.name, tt.from, tt.to, got, want)
		}
	}
}

func TestConvertRefuses(t *testing.T) {
	const j, m, c = wire.JSON, wire.MsgPack, wire.CBOR
	for _, tt := range []struct {
		from   wire.Serialization
		in     string // hex but for JSON
		offset int
		reason string
	}{
		{j, ``, 0, "unexpected end"},
		{j, `  `, 2, "unexpected end"},
		{j, `[1`, 2, "unexpected end"},
		{j, `[1,]`, 3, "want a value"},
		{j, `[1 2]`, 3, "want , or ]"},
		{j, `{"a":1,}`, 7, "want a string as map key"},
		{j, `{1:2}`, 1, "want a string as map key"},
		{j, `{"a" 1}`, 5, "want :"},
		{j, `{"a":1 "b":2}`, 7, "want , or }"},
		{j, `[] []`, 3, "bytes after the value"},
		{j, `tru`, 0, "want true"},
		{j, `nul`, 0, "want null"},
		{j, `NaN`, 0, "want a value"},
		{j, `'a'`, 0, "want a value"},
		{j, `01`, 1, "bytes after the value"},
		{j, `-`, 1, "unexpected end"},
		{j, `-a`, 1, "want a digit after the sign"},
		{j, `+1`, 0, "want a value"},
		{j, `1.`, 2, "want a digit after the decimal point"},
		{j, `.5`, 0, "want a value"},
		{j, `1e`, 2, "want a digit in the exponent"},
		{j, `1e+`, 3, "want a digit in the exponent"},
		{j, `"abc`, 0, "string without an end"},
		{j, "\"0123456789\n\"", 11, "control character"},
		{j, `"01234567\x"`, 9, "invalid escape"},
		{j, `"\u12g4"`, 1, "invalid escape"},
		{j, `"\u12`, 1, "invalid escape"},
		{j, "\"0123456\xff\"", 8, "invalid UTF-8"},
		{j, "[\"\xed\xa0\x80\"]", 2, "invalid UTF-8"},
		{j, "{\"\xc3\":1}", 2, "invalid UTF-8"},
		{j, "\ufeff1", 0, "want a value"},

		{m, "", 0, "unexpected end"},
		{m, "c1", 0, "invalid byte 0xc1"},
		{m, "91", 0, "length 1 is more than the 0 bytes left"},
		{m, "ddffffffff", 0, "length 4294967295 is more"},
		{m, "dfffffffff00", 0, "length 4294967295 is more"},
		{m, "dbffffffff61", 0, "length 4294967295 is more"},
		{m, "c9ffffffff01", 0, "length 4294967295 is more"},
		{m, "a261", 0, "length 2 is more"},
		{m, "a3614180", 3, "invalid UTF-8"},
		{m, "d9", 1, "unexpected end"},
		{m, "cd01", 2, "unexpected end"},
		{m, "cb00", 2, "unexpected end"},
		{m, "d4", 1, "unexpected end"},
		{m, "c7", 1, "unexpected end"},
		{m, "d401", 0, "length 1 is more"},
		{m, "81c001", 1, "have null"},
		{m, "81c4016101", 1, "have a byte string"},
		{m, "81cb000000000000000001", 1, "have a float"},
		{m, "819001", 1, "have a list"},
		{m, "0000", 1, "bytes after the value"},

		{c, "", 0, "unexpected end"},
		{c, "81", 0, "length 1 is more"},
		{c, "9bffffffffffffffff", 0, "length 18446744073709551615 is more"},
		{c, "bb7fffffffffffffff00", 0, "length 9223372036854775807 is more"},
		{c, "5bffffffffffffffff", 0, "length 18446744073709551615 is more"},
		{c, "7affffffff61", 0, "length 4294967295 is more"},
		{c, "1c", 0, "invalid byte 0x1c"},
		{c, "1f", 0, "invalid byte 0x1f"},
		{c, "df", 0, "invalid byte 0xdf"},
		{c, "ff", 0, "break outside"},
		{c, "81ff", 1, "break outside"},
		{c, "9f01", 2, "unexpected end"},
		{c, "bf6161ff", 3, "break outside"},
		{c, "7f4161ff", 1, "chunk of another type"},
		{c, "7f7f6161ffff", 1, "chunk of another type"},
		{c, "7f61c361bcff", 2, "invalid UTF-8"},
		{c, "6180", 1, "invalid UTF-8"},
		{c, "1900", 2, "unexpected end"},
		{c, "f81f", 0, "simple value"},
		{c, "c2", 1, "unexpected end"},
		{c, "c24201", 1, "length 2 is more"},
		{c, "a1f501", 1, "have a boolean"},
		{c, "a1416101", 1, "have a byte string"},
		{c, "a1fb000000000000000001", 1, "have a number"},
		{c, "a18001", 1, "have a list"},
		{c, "0000", 1, "bytes after the value"},
	} {
		in := []byte(tt.in)
		if tt.from != j {
			in = unhex(t, tt.in)
		}
		for _, to := range serializations {
			got, err := wire.Convert([]byte("dst"), tt.from, to, in)
			if string(got) != "dst" {
				t.Errorf("%v %s to %v: dst became %q", tt.from, tt.in, to, got)
			}
			expectError(t, fmt.Sprintf("%v %q to %v", tt.from, tt.in, to), err, tt.offset, tt.reason)
		}
		expectError(t, fmt.Sprintf("validate %v %q", tt.from, tt.in), wire.Validate(tt.from, in, wire.Limits{}), tt.offset, tt.reason)
	}
}

func expectError(t *testing.T, what string, err error, offset int, reason string) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) {
		t.Errorf("%s: error %v, want a *wire.Error", what, err)
		return
	}
	if e.Offset != offset || !strings.Contains(e.Reason, reason) {
		t.Errorf("%s: %v, want %q at %d", what, err, reason, offset)
	}
}

func TestDepth(t *testing.T) {
	for s, nest := range map[wire.Serialization]func(n int) []byte{
		wire.JSON:    func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) },
		wire.MsgPack: func(n int) []byte { return append(bytes.Repeat([]byte{0x91}, n-1), 0x90) },
		wire.CBOR:    func(n int) []byte { return append(bytes.Repeat([]byte{0x9f}, n), bytes.Repeat([]byte{0xff}, n)...) },
	} {
		for _, tt := range []struct {
			lim wire.Limits
			n   int
			ok  bool
		}{
			{wire.Limits{}, 512, true},
			{wire.Limits{}, 513, false},
			{wire.Limits{MaxDepth: 1}, 1, true},
			{wire.Limits{MaxDepth: 1}, 2, false},
			{wire.Limits{MaxDepth: 1 << 30}, 10_000, true},
			{wire.Limits{MaxDepth: 1 << 30}, 10_001, false},
			{wire.Limits{MaxDepth: 1 << 30}, 1 << 20, false},
		} {
			err := wire.Validate(s, nest(tt.n), tt.lim)
			if (err == nil) != tt.ok || !tt.ok && !errors.Is(err, wire.ErrTooDeep) {
				t.Errorf("%v: %d levels within %+v: %v", s, tt.n, tt.lim, err)
			}
		}
		for _, to := range serializations {
			if _, err := wire.Convert(nil, s, to, nest(512)); err != nil {
				t.Errorf("%v to %v: %v", s, to, err)
			}
			if _, err := wire.Convert(nil, s, to, nest(513)); !errors.Is(err, wire.ErrTooDeep) {
				t.Errorf("%v to %v: %v", s, to, err)
			}
			p := wire.NewPayload(s, nest(9_000), nil)
			if _, err := p.Args(to); err != nil {
				t.Errorf("%v to %v: %v", s, to, err)
			}
		}
	}
}

// Tags nest without lists: a long chain of them must not grow the stack.
func TestTagChain(t *testing.T) {
	chain := append(bytes.Repeat([]byte{0xc6}, 1<<20), 1)
	got, err := wire.Convert(nil, wire.CBOR, wire.JSON, chain)
	if err != nil || string(got) != "1" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSize(t *testing.T) {
	value := []byte(`"` + strings.Repeat("x", 98) + `"`)
	if err := wire.Validate(wire.JSON, value, wire.Limits{MaxSize: 100}); err != nil {
		t.Error(err)
	}
	if err := wire.Validate(wire.JSON, value, wire.Limits{MaxSize: 99}); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("error %v", err)
	}
	if _, err := wire.Decode(wire.JSON, make([]byte, 16<<20+1), wire.Limits{}); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("error %v", err)
	}
}

// Heads that turn out longer than their place must not make conversion quadratic:
// 500 lists within each other, all of them long.
func TestLateHeadsAreLinear(t *testing.T) {
	var b strings.Builder
	for range 500 {
		b.WriteString("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,")
	}
	b.WriteString("0")
	b.WriteString(strings.Repeat("]", 500))
	for _, to := range []wire.Serialization{wire.MsgPack, wire.CBOR} {
		there, err := wire.Convert(nil, wire.JSON, to, []byte(b.String()))
		if err != nil {
			t.Fatal(err)
		}
		back, err := wire.Convert(nil, to, wire.JSON, there)
		if err != nil || string(back) != b.String() {
			t.Errorf("%v: did not come back: %v", to, err)
		}
	}
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatalf("%q: %v", s, err)
	}
	return b
}
