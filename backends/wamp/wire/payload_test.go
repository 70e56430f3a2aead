package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
)

func TestPayloadKeepsItsBytes(t *testing.T) {
	args, kwargs := []byte(" [1, 9007199254740993] "), []byte(`{ "a" : 1e0 }`)
	p := wire.NewPayload(wire.JSON, args, kwargs)
	gotArgs, err := p.Args(wire.JSON)
	if err != nil || &gotArgs[0] != &args[0] {
		t.Errorf("args %q, %v", gotArgs, err)
	}
	gotKwargs, err := p.Kwargs(wire.JSON)
	if err != nil || &gotKwargs[0] != &kwargs[0] {
		t.Errorf("kwargs %q, %v", gotKwargs, err)
	}
	if p.Size() != len(args)+len(kwargs) {
		t.Errorf("size %d", p.Size())
	}
}

func TestPayloadConvertsOnce(t *testing.T) {
	p := wire.NewPayload(wire.JSON, []byte(`[1,"a"]`), nil)
	var wg sync.WaitGroup
	results := make([][]byte, 16)
	for i := range results {
		wg.Go(func() { results[i], _ = p.Args(wire.CBOR) })
	}
	wg.Wait()
	for _, r := range results {
		if !bytes.Equal(r, unhex(t, "82016161")) || &r[0] != &results[0][0] {
			t.Errorf("%x is not shared", r)
		}
	}
	if kwargs, err := p.Kwargs(wire.CBOR); kwargs != nil || err != nil {
		t.Errorf("absent kwargs became %x, %v", kwargs, err)
	}
}

func TestPayloadReportsItsError(t *testing.T) {
	p := wire.NewPayload(wire.JSON, []byte(`[1,]`), nil) // a lie
	for range 2 {
		_, err := p.Args(wire.MsgPack)
		expectError(t, "args", err, 3, "want a value")
		_, err = p.Kwargs(wire.MsgPack)
		expectError(t, "kwargs", err, 3, "want a value")
	}
	if _, err := wire.Append(nil, wire.MsgPack, &wamp.Call{Request: 1, Arguments: wire.Opaque(p)}); err == nil {
		t.Error("appended what cannot be converted")
	}
	if _, err := p.Args(0); err == nil {
		t.Error("args without a serialization")
	}
	if _, _, err := p.Values(); err == nil {
		t.Error("values of what cannot be parsed")
	}
}

func TestParsePayload(t *testing.T) {
	for _, tt := range []struct{ args, kwargs string }{{`[1]`, `{"a":1}`}, {"", `{}`}, {` []`, ""}, {"", ""}} {
		if _, err := wire.ParsePayload(wire.JSON, orNil(tt.args), orNil(tt.kwargs)); err != nil {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	for _, tt := range []struct {
		args, kwargs string
		offset       int
		reason       string
	}{
		{`{}`, "", 0, "want a list, have a map"},
		{``, ` []`, 1, "want a map, have a list"},
		{`[1] x`, "", 4, "bytes after the value"},
		{`[`, "", 1, "unexpected end"},
	} {
		_, err := wire.ParsePayload(wire.JSON, orNil(tt.args), orNil(tt.kwargs))
		expectError(t, fmt.Sprintf("%+v", tt), err, tt.offset, tt.reason)
	}
	if _, err := wire.ParsePayload(wire.MsgPack, []byte{0x91, 0xc1}, nil); err == nil {
		t.Error("no error")
	}
}

func orNil(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

func TestPayloadValues(t *testing.T) {
	const args = `[null,true,1,-1,9223372036854775808,18446744073709551616,1.0,"ü",[[]],{"a":{"b":[1]}},"\u0000AQ=="]`
	huge := new(big.Int).Lsh(big.NewInt(1), 64)
	for _, s := range []wire.Serialization{wire.JSON, wire.CBOR} {
		list, dict, err := wire.NewPayload(s, convertTo(t, s, args), convertTo(t, s, `{"k":{"x":[]},"k2":1}`)).Values()
		if err != nil {
			t.Fatal(err)
		}
		want := wamp.List{
			nil, true, int64(1), int64(-1), uint64(1 << 63), huge, 1.0, "ü",
			wamp.List{wamp.List{}}, wamp.Dict{"a": wamp.Dict{"b": wamp.List{int64(1)}}}, []byte{1},
		}
		if !reflect.DeepEqual(list, want) {
			t.Errorf("%v: %#v", s, list)
		}
		if !reflect.DeepEqual(dict, wamp.Dict{"k": wamp.Dict{"x": wamp.List{}}, "k2": int64(1)}) {
			t.Errorf("%v: %#v", s, dict)
		}
	}
	if list, dict, err := wire.NewPayload(wire.JSON, nil, nil).Values(); list != nil || dict != nil || err != nil {
		t.Errorf("absent: %v %v %v", list, dict, err)
	}
	if list, dict, err := wire.NewPayload(wire.JSON, []byte(`[]`), []byte(`{}`)).Values(); list == nil || dict == nil || err != nil {
		t.Errorf("empty: %v %v %v", list, dict, err)
	}
}

func TestOpaque(t *testing.T) {
	if l := wire.Opaque(nil); l != nil {
		t.Errorf("Opaque(nil) = %v", l)
	}
	p := wire.NewPayload(wire.JSON, nil, []byte(`{"k":1}`))
	l := wire.Opaque(p)
	if len(l) != 1 || l[0] != p {
		t.Errorf("%v", l)
	}
	l = append(l, 1)
	if len(l) != 2 || len(wire.Opaque(p)) != 1 {
		t.Error("appending changed the payload")
	}
	got, err := wire.Append(nil, wire.JSON, &wamp.Yield{Request: 1, Arguments: wire.Opaque(p)})
	if string(got) != `[70,1,{},[],{"k":1}]` || err != nil {
		t.Errorf("kwargs only: %s, %v", got, err)
	}
	for _, msg := range []wamp.Message{
		&wamp.Call{}, &wamp.Call{Arguments: wamp.List{1}}, &wamp.Call{Arguments: wamp.List{p, p}}, &wamp.Hello{}, &wamp.Published{},
	} {
		if got := wire.PayloadOf(msg); got != nil {
			t.Errorf("PayloadOf(%#v) = %v", msg, got)
		}
	}
}

func TestFrameBuildsOncePerKey(t *testing.T) {
	p := wire.NewPayload(wire.JSON, []byte(`[]`), nil)
	var builds atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 64 {
				key := wire.FrameKey{Serialization: wire.CBOR, Subscription: wamp.ID(i), Variant: 1}
				got, err := p.Frame(key, func() ([]byte, error) {
					builds.Add(1)
					return []byte{byte(i)}, nil
				})
				if err != nil || len(got) != 1 || got[0] != byte(i) {
					t.Errorf("frame %d: %v, %v", i, got, err)
				}
			}
		})
	}
	wg.Wait()
	if n := builds.Load(); n != 64 {
		t.Errorf("%d builds of 64 frames", n)
	}
	for range 2 {
		got, err := p.Frame(wire.FrameKey{Framing: 1}, func() ([]byte, error) {
			builds.Add(1)
			return []byte("x"), nil
		})
		if string(got) != "x" || err != nil {
			t.Errorf("beyond the cache: %q, %v", got, err)
		}
	}
	if n := builds.Load(); n != 66 {
		t.Errorf("%d builds, want two for what the cache has no room for", n)
	}
}

func TestFrameKeepsTheError(t *testing.T) {
	p := wire.NewPayload(wire.JSON, nil, nil)
	broken := errors.New("broken")
	for range 2 {
		if _, err := p.Frame(wire.FrameKey{}, func() ([]byte, error) {
			defer func() { broken = nil }()
			return nil, broken
		}); err == nil || err.Error() != "broken" {
			t.Errorf("error %v", err)
		}
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = p.Frame(wire.FrameKey{Variant: 1}, func() ([]byte, error) { panic("oops") })
	}()
	if b, err := p.Frame(wire.FrameKey{Variant: 1}, func() ([]byte, error) { return []byte("x"), nil }); err == nil {
		t.Errorf("a frame whose build panicked: %q", b)
	}
}

func TestFrameHitsDoNotAllocate(t *testing.T) {
	p := wire.NewPayload(wire.JSON, nil, nil)
	build := func() ([]byte, error) { return []byte("x"), nil }
	_, _ = p.Frame(wire.FrameKey{}, build)
	if n := testing.AllocsPerRun(100, func() { _, _ = p.Frame(wire.FrameKey{}, build) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
