package wire_test

import (
	"bytes"
	"errors"
	"math"
	"math/big"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

// Every message type, as JSON and as nexus knows it. What has a payload carries it
// opaquely, so the test fills in Arguments.
var messages = []struct {
	json         string
	msg          wamp.Message
	args, kwargs string
}{
	{json: `[1,"realm1",{"roles":{"callee":{"features":{"x":true}},"caller":{}}}]`, msg: &wamp.Hello{
		Realm:   "realm1",
		Details: wamp.Dict{"roles": wamp.Dict{"callee": wamp.Dict{"features": wamp.Dict{"x": true}}, "caller": wamp.Dict{}}},
	}},
	{json: `[1,"",{}]`, msg: &wamp.Hello{Details: wamp.Dict{}}},
	{json: `[2,9007199254740992,{"authid":"joe"}]`, msg: &wamp.Welcome{ID: 1 << 53, Details: wamp.Dict{"authid": "joe"}}},
	{json: `[3,{"message":"no"},"wamp.error.no_such_realm"]`, msg: &wamp.Abort{
		Details: wamp.Dict{"message": "no"}, Reason: wamp.ErrNoSuchRealm,
	}},
	{json: `[4,"wampcra",{"challenge":"{\"nonce\":1}"}]`, msg: &wamp.Challenge{
		AuthMethod: "wampcra", Extra: wamp.Dict{"challenge": `{"nonce":1}`},
	}},
	{json: `[5,"c2lnbg==",{}]`, msg: &wamp.Authenticate{Signature: "c2lnbg==", Extra: wamp.Dict{}}},
	{json: `[6,{},"wamp.close.normal"]`, msg: &wamp.Goodbye{Details: wamp.Dict{}, Reason: "wamp.close.normal"}},

	{json: `[8,48,7,{},"e.rror"]`, msg: &wamp.Error{Type: wamp.CALL, Request: 7, Error: "e.rror"}},
	{json: `[8,48,0,{"a":1},"e.rror",["x"]]`, args: `["x"]`, msg: &wamp.Error{
		Type: wamp.CALL, Details: wamp.Dict{"a": int64(1)}, Error: "e.rror",
	}},
	{json: `[8,68,7,{},"e.rror",[],{"k":null}]`, args: `[]`, kwargs: `{"k":null}`, msg: &wamp.Error{
		Type: wamp.INVOCATION, Request: 7, Error: "e.rror",
	}},

	{json: `[16,1,{},"t"]`, msg: &wamp.Publish{Request: 1, Topic: "t"}},
	{json: `[16,1,{"acknowledge":true,"exclude":[1,2]},"t",[9007199254740993]]`, args: `[9007199254740993]`, msg: &wamp.Publish{
		Request: 1, Options: wamp.Dict{"acknowledge": true, "exclude": wamp.List{int64(1), int64(2)}}, Topic: "t",
	}},
	{json: `[16,1,{},"t",[],{}]`, args: `[]`, kwargs: `{}`, msg: &wamp.Publish{Request: 1, Topic: "t"}},
	{json: `[17,1,2]`, msg: &wamp.Published{Request: 1, Publication: 2}},
	{json: `[32,1,{"match":"prefix"},"t."]`, msg: &wamp.Subscribe{Request: 1, Options: wamp.Dict{"match": "prefix"}, Topic: "t."}},
	{json: `[33,1,2]`, msg: &wamp.Subscribed{Request: 1, Subscription: 2}},
	{json: `[34,1,2]`, msg: &wamp.Unsubscribe{Request: 1, Subscription: 2}},
	{json: `[35,1]`, msg: &wamp.Unsubscribed{Request: 1}},
	{json: `[35,0]`, msg: &wamp.Unsubscribed{}},
	{json: `[36,1,2,{}]`, msg: &wamp.Event{Subscription: 1, Publication: 2}},
	{json: `[36,1,2,{"topic":"t"},[]]`, args: `[]`, msg: &wamp.Event{
		Subscription: 1, Publication: 2, Details: wamp.Dict{"topic": "t"},
	}},
	{json: `[36,1,2,{},[1.5],{"b":1,"a":2}]`, args: `[1.5]`, kwargs: `{"b":1,"a":2}`, msg: &wamp.Event{Subscription: 1, Publication: 2}},

	{json: `[48,1,{},"p"]`, msg: &wamp.Call{Request: 1, Procedure: "p"}},
	{json: `[48,1,{"timeout":500},"p",[1],{"k":2}]`, args: `[1]`, kwargs: `{"k":2}`, msg: &wamp.Call{
		Request: 1, Options: wamp.Dict{"timeout": int64(500)}, Procedure: "p",
	}},
	{json: `[49,1,{"mode":"kill"}]`, msg: &wamp.Cancel{Request: 1, Options: wamp.Dict{"mode": "kill"}}},
	{json: `[50,1,{}]`, msg: &wamp.Result{Request: 1}},
	{json: `[50,1,{"progress":true},[null]]`, args: `[null]`, msg: &wamp.Result{Request: 1, Details: wamp.Dict{"progress": true}}},
	{json: `[64,1,{"invoke":"roundrobin"},"p"]`, msg: &wamp.Register{
		Request: 1, Options: wamp.Dict{"invoke": "roundrobin"}, Procedure: "p",
	}},
	{json: `[65,1,2]`, msg: &wamp.Registered{Request: 1, Registration: 2}},
	{json: `[66,1,2]`, msg: &wamp.Unregister{Request: 1, Registration: 2}},
	{json: `[67,1]`, msg: &wamp.Unregistered{Request: 1}},
	{json: `[67,0]`, msg: &wamp.Unregistered{}},
	{json: `[68,1,2,{"caller":3}]`, msg: &wamp.Invocation{Request: 1, Registration: 2, Details: wamp.Dict{"caller": int64(3)}}},
	{json: `[68,1,2,{},["ü"],{}]`, args: `["ü"]`, kwargs: `{}`, msg: &wamp.Invocation{Request: 1, Registration: 2}},
	{json: `[69,1,{"reason":"wamp.error.canceled"}]`, msg: &wamp.Interrupt{
		Request: 1, Options: wamp.Dict{"reason": "wamp.error.canceled"},
	}},
	{json: `[70,1,{}]`, msg: &wamp.Yield{Request: 1}},
	{json: `[70,1,{"progress":true},[1],{"k":{}}]`, args: `[1]`, kwargs: `{"k":{}}`, msg: &wamp.Yield{
		Request: 1, Options: wamp.Dict{"progress": true},
	}},
}

func TestNullExtraIsEmpty(t *testing.T) {
	for _, tt := range []struct {
		s     wire.Serialization
		frame string
	}{{wire.JSON, `[5, "sig", null]`}, {wire.MsgPack, "\x93\x05\xa3sig\xc0"}, {wire.CBOR, "\x83\x05\x63sig\xf6"}} {
		msg, err := wire.Decode(tt.s, []byte(tt.frame), wire.Limits{})
		m, ok := msg.(*wamp.Authenticate)
		if err != nil || !ok || m.Signature != "sig" || m.Extra == nil || len(m.Extra) != 0 {
			t.Errorf("%v: got %+v, %v", tt.s, msg, err)
		}
	}
	for _, frame := range []string{`[5,"sig"]`, `[5,"sig",1]`, `[5,"sig",nul]`, `[5,"sig",null,1]`} {
		if msg, err := wire.Decode(wire.JSON, []byte(frame), wire.Limits{}); err == nil {
			t.Errorf("%s: got %+v", frame, msg)
		}
	}
}

func TestMessages(t *testing.T) {
	for _, row := range messages {
		for _, s := range serializations {
			frame := convertTo(t, s, row.json)
			msg, err := wire.Decode(s, frame, wire.Limits{})
			if err != nil {
				t.Errorf("%v %s: %v", s, row.json, err)
				continue
			}
			p := wire.PayloadOf(msg)
			if (p != nil) != (row.args != "" || row.kwargs != "") {
				t.Errorf("%v %s: payload %v", s, row.json, p)
				continue
			}
			if p != nil {
				args, err := p.Args(wire.JSON)
				kwargs, err2 := p.Kwargs(wire.JSON)
				if string(args) != row.args || string(kwargs) != row.kwargs || err != nil || err2 != nil {
					t.Errorf("%v %s: payload %s, %v and %s, %v", s, row.json, args, err, kwargs, err2)
				}
			}
			want := reflect.New(reflect.TypeOf(row.msg).Elem())
			want.Elem().Set(reflect.ValueOf(row.msg).Elem())
			if p != nil {
				want.Elem().FieldByName("Arguments").Set(reflect.ValueOf(wire.Opaque(p)))
			}
			if !reflect.DeepEqual(msg, want.Interface()) {
				t.Errorf("%v %s:\n have %#v\n want %#v", s, row.json, msg, want.Interface())
			}
			for _, to := range serializations {
				got, err := wire.Append([]byte("dst"), to, msg)
				if want := "dst" + string(convertTo(t, to, row.json)); err != nil || string(got) != want {
					t.Errorf("%v %s appended as %v:\n have %q, %v\n want %q", s, row.json, to, got, err, want)
				}
			}
		}
	}
}

func TestEveryMessageTypeIsTested(t *testing.T) {
	seen := map[wamp.MessageType]bool{}
	for _, row := range messages {
		seen[row.msg.MessageType()] = true
	}
	for mt := range wamp.MessageType(256) {
		if mt.String() != "" && !seen[mt] {
			t.Errorf("no row for %v", mt)
		}
	}
}

// What is tolerated, and what becomes of it.
func TestDecodeTolerates(t *testing.T) {
	for _, tt := range []struct{ name, frame, want string }{
		{"whitespace", " [ 48 , 1 , { } , \"p\" ,\t[ 1 ] ] \r\n", `[48,1,{},"p",[ 1 ]]`},
		{"null args", `[48,1,{},"p",null,{"k":1}]`, `[48,1,{},"p",[],{"k":1}]`},
		{"null args and kwargs", `[48,1,{},"p",null,null]`, `[48,1,{},"p"]`},
		{"null kwargs", `[48,1,{},"p",[1],null]`, `[48,1,{},"p",[1]]`},
		{"float ID", `[48,9.007199254740992e15,{},"p"]`, `[48,9007199254740992,{},"p"]`},
		{"float message type", `[48.0,1,{},"p"]`, `[48,1,{},"p"]`},
		{"escapes in a URI", `[48,1,{},"\u0063om.x"]`, `[48,1,{},"com.x"]`},
		{"revoked registration", `[67,0,{"registration":1}]`, `[67,0]`},
		{"revoked subscription", `[35,0,{"subscription":1}]`, `[35,0]`},
		{"options of UNREGISTER", `[66,1,2,{"forward_for":[]}]`, `[66,1,2]`},
		{"options of UNSUBSCRIBE", `[34,1,2,{}]`, `[34,1,2]`},
		{"duplicate options", `[49,1,{"mode":"skip","mode":"kill"}]`, `[49,1,{"mode":"kill"}]`},
	} {
		msg, err := wire.Decode(wire.JSON, []byte(tt.frame), wire.Limits{})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got, err := wire.Append(nil, wire.JSON, msg); string(got) != tt.want || err != nil {
			t.Errorf("%s: have %s, %v, want %s", tt.name, got, err, tt.want)
		}
	}
	for name, frame := range map[string]struct {
		s   wire.Serialization
		hex string
	}{
		"msgpack double ID":       {wire.MsgPack, "9430cb3ff000000000000080a170"},
		"msgpack float ID":        {wire.MsgPack, "9430ca3f80000080a170"},
		"msgpack wide everything": {wire.MsgPack, "dd00000004d100" + "30d300000000000000" + "01df00000000db0000000170"},
		"CBOR half ID":            {wire.CBOR, "841830f93c00a06170"},
		"CBOR float ID":           {wire.CBOR, "841830fa3f800000a06170"},
		"CBOR double ID":          {wire.CBOR, "841830fb3ff0000000000000a06170"},
		"CBOR indefinite":         {wire.CBOR, "9f183001bfff7f6170ffff"},
	} {
		msg, err := wire.Decode(frame.s, unhex(t, frame.hex), wire.Limits{})
		if want := (&wamp.Call{Request: 1, Procedure: "p"}); err != nil || !reflect.DeepEqual(msg, want) {
			t.Errorf("%s: %#v, %v", name, msg, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, tt := range []struct{ frame, want string }{
		{``, `at byte 0: want a message, which is a list, have nothing`},
		{`{}`, `at byte 0: want a message, which is a list, have a map`},
		{`[]`, `MessageType (element 0) at byte 2: missing`},
		{`["48"]`, `MessageType (element 0) at byte 1: want a number, have a string`},
		{`[48.5]`, `MessageType (element 0) at byte 1: want an integer from 0 to 1023`},
		{`[1e400]`, `MessageType (element 0) at byte 1: want an integer from 0 to 1023`},
		{`[-1]`, `MessageType (element 0) at byte 1: want an integer from 0 to 1023`},
		{`[7,{}]`, `MessageType (element 0) at byte 2: unknown message type 7`},
		{`[48]`, `CALL.Request (element 1) at byte 4: missing`},
		{`[48,0,{},"p"]`, `CALL.Request (element 1) at byte 4: want an integer from 1 to 9007199254740992`},
		{`[48,-1,{},"p"]`, `CALL.Request (element 1) at byte 4: want an integer from 1`},
		{`[48,9007199254740993,{},"p"]`, `CALL.Request (element 1) at byte 4: want an integer from 1`},
		{`[48,99999999999999999999999,{},"p"]`, `CALL.Request (element 1) at byte 4: want an integer from 1`},
		{`[48,"1",{},"p"]`, `CALL.Request (element 1) at byte 4: want a number, have a string`},
		{`[48,true,{},"p"]`, `CALL.Request (element 1) at byte 4: want a number, have a boolean`},
		{`[48,1,[],"p"]`, `CALL.Options (element 2) at byte 6: want a map, have a list`},
		{`[48,1,null,"p"]`, `CALL.Options (element 2) at byte 6: want a map, have null`},
		{`[48,1,{"a":},"p"]`, `CALL.Options (element 2) at byte 11: want a value`},
		{`[48,1,{},1]`, `CALL.Procedure (element 3) at byte 9: want a string, have a number`},
		{`[48,1,{}]`, `CALL.Procedure (element 3) at byte 9: missing`},
		{`[48,1,{},"p",{}]`, `CALL.Arguments (element 4) at byte 13: want a list, have a map`},
		{`[48,1,{},"p","\u0000AA=="]`, `CALL.Arguments (element 4) at byte 13: want a list, have a string`},
		{`[48,1,{},"p",[],[]]`, `CALL.ArgumentsKw (element 5) at byte 16: want a map, have a list`},
		{`[48,1,{},"p",[],{},{}]`, `CALL at byte 19: element 6 is one too many`},
		{`[48,1,{},"p",[],{},]`, `CALL at byte 19: element 6 is one too many`},
		{`[48,1,{},"p",]`, `CALL.Arguments (element 4) at byte 13: want a list, have something else`},
		{`[48,1,{},"p"`, `CALL.Arguments (element 4) at byte 12: unexpected end`},
		{`[48,1,{},"p"}`, `CALL.Arguments (element 4) at byte 12: want , or ] after a message element`},
		{`[48,1,{},"p"]]`, `CALL at byte 13: bytes after the message`},
		{`[48,1,{},"p",["` + "\xff" + `"]]`, `CALL.Arguments (element 4) at byte 15: invalid UTF-8`},
		{`[48,1,{},"` + "\xff" + `"]`, `CALL.Procedure (element 3) at byte 10: invalid UTF-8`},
		{`[17,1,2,3]`, `PUBLISHED at byte 8: element 3 is one too many`},
		{`[35,0,1]`, `UNSUBSCRIBED.Details (element 2) at byte 6: want a map, have a number`},
		{`[33,0,1]`, `SUBSCRIBED.Request (element 1) at byte 4: want an integer from 1`},
		{`[1,1,{}]`, `HELLO.Realm (element 1) at byte 3: want a string, have a number`},
		{`[8,"48",1,{},"e"]`, `ERROR.Type (element 1) at byte 3: want a number, have a string`},
	} {
		_, err := wire.Decode(wire.JSON, []byte(tt.frame), wire.Limits{})
		if err == nil || !strings.HasPrefix(err.Error(), "read json: "+tt.want) {
			t.Errorf("%s:\n have %v\n want read json: %s", tt.frame, err, tt.want)
		}
	}
	for _, tt := range []struct {
		s         wire.Serialization
		hex, want string
	}{
		{wire.MsgPack, "ddffffffff", "read msgpack: at byte 0: length 4294967295 is more than the 0 bytes left"},
		{wire.MsgPack, "9430018" + "0c40170", "read msgpack: CALL.Procedure (element 3) at byte 4: want a string, have a byte string"},
		{wire.MsgPack, "9530018" + "0a170ddffffffff", "read msgpack: CALL.Arguments (element 4) at byte 6: length 4294967295"},
		{wire.MsgPack, "9530018" + "0a170c40101", "read msgpack: CALL.Arguments (element 4) at byte 6: want a list, have a byte string"},
		{wire.MsgPack, "9430d300000000", "read msgpack: CALL.Request (element 1) at byte 7: unexpected end"},
		{wire.MsgPack, "9430ff80a170", "read msgpack: CALL.Request (element 1) at byte 2: want an integer from 1"},
		{wire.CBOR, "9bffffffffffffffff", "read cbor: at byte 0: length 18446744073709551615 is more than the 0 bytes left"},
		{wire.CBOR, "84183001a0416170", "read cbor: CALL.Procedure (element 3) at byte 5: want a string, have a byte string"},
		{wire.CBOR, "84183020a06170", "read cbor: CALL.Request (element 1) at byte 3: want an integer from 1"},
		{wire.CBOR, "84183001d8ffa06170", "read cbor: CALL.Options (element 2) at byte 4: want a map, have something else"},
		{wire.CBOR, "9f183001a06170", "read cbor: CALL.Arguments (element 4) at byte 7: want a list, have nothing"},
		{wire.CBOR, "9f183001ff", "read cbor: CALL.Options (element 2) at byte 5: missing"},
		{wire.CBOR, "9f183001a0617080a000ff", "read cbor: CALL at byte 9: element 6 is one too many"},
	} {
		frame := unhex(t, tt.hex)
		_, err := wire.Decode(tt.s, frame, wire.Limits{})
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%v %s:\n have %v\n want %s", tt.s, tt.hex, err, tt.want)
		}
	}
}

// No frame cut short is a message, nor does it panic.
func TestDecodeTruncated(t *testing.T) {
	for _, row := range messages {
		for _, s := range serializations {
			frame := convertTo(t, s, row.json)
			for n := range frame {
				if msg, err := wire.Decode(s, frame[:n:n], wire.Limits{}); err == nil {
					t.Errorf("%v %s: %d bytes decode to %#v", s, row.json, n, msg)
				}
			}
		}
	}
}

func TestDecodeLimits(t *testing.T) {
	frame := []byte(`[48,1,{},"p",[[1]]]`)
	if _, err := wire.Decode(wire.JSON, frame, wire.Limits{MaxDepth: 2}); err != nil {
		t.Error(err)
	}
	_, err := wire.Decode(wire.JSON, frame, wire.Limits{MaxDepth: 1})
	if !errors.Is(err, wire.ErrTooDeep) || !strings.Contains(err.Error(), "CALL.Arguments (element 4) at byte 14") {
		t.Errorf("error %v", err)
	}
	if _, err := wire.Decode(wire.JSON, frame, wire.Limits{MaxSize: len(frame) - 1}); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("error %v", err)
	}
}

// A few bytes that claim to be a lot must not be believed.
func TestDecodeAllocatesLittle(t *testing.T) {
	for s, frames := range map[wire.Serialization][]string{
		wire.MsgPack: {"ddffffffff", "9430" + "dfffffffff", "943001dfffffffffa161", "95300180a170ddffffffff", "943001" + "81a161ddffffff00"},
		wire.CBOR:    {"9bffffffffffffffff", "84183001bbffffffffffffffff", "85183001a061709b7fffffffffffffff", "84183001a161619a00ffffff"},
	} {
		for _, f := range frames {
			frame := unhex(t, f)
			const runs = 100
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range runs {
				if _, err := wire.Decode(s, frame, wire.Limits{}); err == nil {
					t.Errorf("%v %s: no error", s, f)
				}
			}
			runtime.ReadMemStats(&after)
			if n := (after.TotalAlloc - before.TotalAlloc) / runs; n > 2000 {
				t.Errorf("%v %s: %d bytes allocated", s, f, n)
			}
		}
	}
}

// Options become values that nexus' helpers understand, in every serialisation.
func TestOptionsSuitNexus(t *testing.T) {
	const frame = `[16,1,{"acknowledge":true,"exclude":[1,9007199254740992],"eligible_authrole":["a"],"timeout":1.5,` +
		`"big":18446744073709551615,"huge":-18446744073709551617,"nothing":null,"nested":{"list":[{}]},"bytes":"\u0000AQI="},"t"]`
	for _, s := range serializations {
		msg, err := wire.Decode(s, convertTo(t, s, frame), wire.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		o := msg.(*wamp.Publish).Options
		if !wamp.OptionFlag(o, "acknowledge") {
			t.Errorf("%v: acknowledge %v", s, o["acknowledge"])
		}
		list, ok := wamp.AsList(o["exclude"])
		if id, idOK := wamp.AsID(list[1]); !ok || !idOK || id != 1<<53 {
			t.Errorf("%v: exclude %v", s, o["exclude"])
		}
		roles, _ := wamp.AsList(o["eligible_authrole"])
		if names, ok := wamp.ListToStrings(roles); !ok || names[0] != "a" {
			t.Errorf("%v: eligible_authrole %v", s, o["eligible_authrole"])
		}
		if f, ok := wamp.AsFloat64(o["timeout"]); !ok || f != 1.5 {
			t.Errorf("%v: timeout %v", s, o["timeout"])
		}
		if o["big"] != uint64(math.MaxUint64) {
			t.Errorf("%v: big %v", s, o["big"])
		}
		huge, _ := new(big.Int).SetString("-18446744073709551617", 10)
		if have, ok := o["huge"].(*big.Int); s != wire.MsgPack && (!ok || have.Cmp(huge) != 0) {
			t.Errorf("%v: huge %v", s, o["huge"])
		}
		if v, ok := o["nothing"]; v != nil || !ok {
			t.Errorf("%v: nothing %v %v", s, v, ok)
		}
		if b, ok := o["bytes"].([]byte); !ok || !bytes.Equal(b, []byte{1, 2}) {
			t.Errorf("%v: bytes %v", s, o["bytes"])
		}
		nested := wamp.DictChild(o, "nested")
		if n := wamp.NormalizeDict(o); nested == nil || n == nil || !reflect.DeepEqual(nested["list"], wamp.List{wamp.Dict{}}) {
			t.Errorf("%v: nested %#v", s, o["nested"])
		}
	}
}

// The words that Decode knows by heart come out as they went in.
func TestKnownWords(t *testing.T) {
	const frame = `[16,1,{"acknowledge":"exact","disclose_me":"prefix","exclude_me":"wildcard","invoke":1,"match":2,"mode":3,` +
		`"procedure":4,"progress":5,"publisher":6,"receive_progress":7,"timeout":8,"topic":9,"unknown":10},"t"]`
	for _, s := range serializations {
		msg, err := wire.Decode(s, convertTo(t, s, frame), wire.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := wire.Append(nil, wire.JSON, msg); string(got) != frame || err != nil {
			t.Errorf("%v: %s, %v", s, got, err)
		}
	}
}

// Empty options may be a nil map, which can be read and set by nexus' helper.
func TestEmptyOptions(t *testing.T) {
	for _, frame := range []string{`[48,1,{},"p"]`, `[48,1,{ },"p"]`} {
		msg, err := wire.Decode(wire.JSON, []byte(frame), wire.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		o := msg.(*wamp.Call).Options
		if len(o) != 0 || wamp.OptionFlag(o, "x") || wamp.SetOption(o, "x", true)["x"] != true {
			t.Errorf("%s: options %#v", frame, o)
		}
	}
}

func convertTo(tb testing.TB, s wire.Serialization, json string) []byte {
	tb.Helper()
	out, err := wire.Convert(nil, wire.JSON, s, []byte(json))
	if err != nil {
		tb.Fatalf("%s: %v", json, err)
	}
	return out
}
