package wire_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

type named string

type stored struct {
	Publication wamp.ID
	Arguments   wamp.List
	ArgumentsKw wamp.Dict
	hidden      int
}

// Plain values, as nexus puts them into the messages it makes itself.
func TestAppendPlainValues(t *testing.T) {
	huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	payload := wire.NewPayload(wire.MsgPack, unhex(t, "9101"), unhex(t, "81a16b02"))
	one := 1
	for _, tt := range []struct {
		name string
		args wamp.List
		kw   wamp.Dict
		want string
	}{
		{"none", nil, nil, `[50,1,{}]`},
		{"empty is absent", wamp.List{}, wamp.Dict{}, `[50,1,{}]`},
		{"kwargs only", nil, wamp.Dict{"a": 1}, `[50,1,{},[],{"a":1}]`},
		{"session IDs", wamp.List{wamp.ID(7), []wamp.ID{8, 9}, []wamp.ID(nil)}, nil, `[50,1,{},[7,[8,9],[]]]`},
		{"a subscription's details", wamp.List{wamp.Dict{
			"id": wamp.ID(1), "created": "2026-01-01T00:00:00Z", "uri": wamp.URI("a.b"), "match": "exact",
		}}, nil, `[50,1,{},[{"created":"2026-01-01T00:00:00Z","id":1,"match":"exact","uri":"a.b"}]]`},
		{"maps and lists of other types", wamp.List{
			map[string]any{"b": []any{1, "x"}, "a": map[string]int{"z": 1}}, []string{"s"}, []wamp.URI{"u"}, [2]bool{true, false},
		}, nil, `[50,1,{},[{"a":{"z":1},"b":[1,"x"]},["s"],["u"],[true,false]]]`},
		{"integers", wamp.List{
			int8(-1), int16(-2), int32(-3), int64(math.MinInt64), -5, uint8(1), uint16(2), uint32(3), uint64(math.MaxUint64), uint(5), wamp.CALL,
		}, nil, `[50,1,{},[-1,-2,-3,-9223372036854775808,-5,1,2,3,18446744073709551615,5,48]]`},
		{"floats", wamp.List{1.0, float32(0.5), 1e300}, nil, `[50,1,{},[1.0,0.5,1e+300]]`},
		{"others", wamp.List{nil, true, named("n"), &one, (*int)(nil), (*big.Int)(nil)}, nil, `[50,1,{},[null,true,"n",1,null,null]]`},
		{"bytes", wamp.List{[]byte{1, 2}, json.RawMessage{3}}, nil, `[50,1,{},["\u0000AQI=","\u0000Aw=="]]`},
		{"time", wamp.List{time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))}, nil, `[50,1,{},["2026-01-02T02:04:05Z"]]`},
		{"number literals", wamp.List{json.Number("1.50"), json.Number("12")}, nil, `[50,1,{},[1.5,12]]`},
		{"not UTF-8", wamp.List{"a\xffb"}, wamp.Dict{"\xff": 1}, "[50,1,{},[\"a\ufffdb\"],{\"\ufffd\":1}]"},
		{"event history", wamp.List{stored{
			Publication: 5, Arguments: wire.Opaque(payload), hidden: 1,
		}}, wamp.Dict{"is_limit_reached": false}, `[50,1,{},[{"Arguments":[1],"ArgumentsKw":{"k":2},"Publication":5}],{"is_limit_reached":false}]`},
		{"payload beside kwargs", wire.Opaque(payload), wamp.Dict{"x": 1}, `[50,1,{},[1],{"x":1}]`},
	} {
		for _, s := range serializations {
			got, err := wire.Append(nil, s, &wamp.Result{Request: 1, Arguments: tt.args, ArgumentsKw: tt.kw})
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			text, err := wire.Convert(nil, s, wire.JSON, got)
			if s == wire.JSON {
				text = []byte(strings.ReplaceAll(string(text), "1.50", "1.5"))
			}
			if string(text) != tt.want || err != nil {
				t.Errorf("%s as %v:\n have %s, %v\n want %s", tt.name, s, text, err, tt.want)
			}
		}
	}
	got, err := wire.Append(nil, wire.CBOR, &wamp.Result{Request: 1, Arguments: wamp.List{huge}})
	if text, _ := wire.Convert(nil, wire.CBOR, wire.JSON, got); string(text) != `[50,1,{},[123456789012345678901234567890]]` || err != nil {
		t.Errorf("big.Int: %s, %v", text, err)
	}
}

func TestAppendRefuses(t *testing.T) {
	loop := wamp.Dict{}
	loop["self"] = loop
	list := wamp.List{0}
	list[0] = list
	for name, v := range map[string]any{
		"a channel":                 make(chan int),
		"a function":                func() {},
		"a map with integer keys":   map[int]string{1: "a"},
		"a map that holds itself":   loop,
		"a list that holds itself":  list,
		"a payload among others":    wamp.List{1, wire.NewPayload(wire.JSON, []byte(`[]`), nil)},
		"a number that is none":     json.Number("x"),
		"a number that is a string": json.Number(`"1"`),
	} {
		for _, s := range serializations {
			got, err := wire.Append([]byte("dst"), s, &wamp.Result{Request: 1, Arguments: wamp.List{"x", v}})
			if err == nil || string(got) != "dst" {
				t.Errorf("%s as %v: %q, %v", name, s, got, err)
			}
		}
	}
	if _, err := wire.Append(nil, wire.JSON, &wamp.Welcome{Details: loop}); !errors.Is(err, wire.ErrTooDeep) {
		t.Errorf("error %v", err)
	}
	if _, err := wire.Append(nil, wire.Serialization(0), &wamp.Welcome{}); err == nil {
		t.Error("no error without a serialization")
	}
}

func TestAppendMessagesToEachOther(t *testing.T) {
	var stream []byte
	for range 2 {
		var err error
		if stream, err = wire.Append(stream, wire.JSON, &wamp.Published{Request: 1, Publication: 2}); err != nil {
			t.Fatal(err)
		}
	}
	if string(stream) != `[17,1,2][17,1,2]` {
		t.Errorf("%s", stream)
	}
}
