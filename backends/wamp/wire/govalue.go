package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gammazero/nexus/v3/wamp"
)

var errGoTooDeep = fmt.Errorf("%w: more than %d levels of Go values", ErrTooDeep, defaultDepth)

func (e *encoder) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// goString writes a string that may hold anything; what is no UTF-8 becomes U+FFFD.
func (e *encoder) goString(s string) { e.str(validUTF8(s)) }

func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// dict writes a map, of nil an empty one, in the order of its keys.
func (e *encoder) dict(d map[string]any, depth int) {
	if depth >= defaultDepth {
		e.fail(errGoTooDeep)
		return
	}
	mark := e.openMap(len(d))
	if len(d) > 1 {
		var room [16]string
		keys := room[:0]
		for k := range d {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			e.strKey(validUTF8(k))
			e.any(d[k], depth+1)
		}
	} else {
		for k, v := range d {
			e.strKey(validUTF8(k))
			e.any(v, depth+1)
		}
	}
	e.closeMap(mark, len(d))
}

// list writes a list, of nil an empty one. An opaque payload in it (from the
// router's event history) stands for the args it carries.
func (e *encoder) list(l []any, depth int) {
	if p := opaque(l, nil); p != nil {
		if args, err := p.Args(e.s); err != nil {
			e.fail(err)
		} else if args != nil {
			e.raw(args)
			return
		}
		l = nil
	}
	if depth >= defaultDepth {
		e.fail(errGoTooDeep)
		return
	}
	mark := e.openList(len(l))
	for _, v := range l {
		e.any(v, depth+1)
	}
	e.closeList(mark, len(l))
}

func (e *encoder) signed(v int64) {
	if v < 0 {
		e.integer(true, uint64(^v))
	} else {
		e.integer(false, uint64(v))
	}
}

// any writes a Go value. Types that nexus uses have a case of their own, the rest
// goes by its kind.
func (e *encoder) any(v any, depth int) {
	switch v := v.(type) {
	case nil:
		e.null()
	case bool:
		e.boolean(v)
	case string:
		e.goString(v)
	case wamp.URI:
		e.goString(string(v))
	case wamp.ID:
		e.id(v)
	case int:
		e.signed(int64(v))
	case int64:
		e.signed(v)
	case uint64:
		e.integer(false, v)
	case float64:
		e.float(v)
	case []byte:
		e.binary(v)
	case wamp.Dict:
		e.dict(v, depth)
	case map[string]any:
		e.dict(v, depth)
	case wamp.List:
		e.list(v, depth)
	case []any:
		e.list(v, depth)
	case *big.Int:
		if v == nil {
			e.null()
			return
		}
		e.number(v.Append(nil, 10))
	case json.Number:
		e.number([]byte(v))
	case time.Time:
		e.str(v.UTC().Format(time.RFC3339Nano))
	case *Payload:
		e.fail(errors.New("a payload cannot be one value among others"))
	default:
		e.reflected(reflect.ValueOf(v), depth)
	}
}

// number writes a number given as JSON spells it, which takes the same way as one
// in a payload.
func (e *encoder) number(lit []byte) {
	if len(lit) == 0 || jsonKind(lit[0]) != kindNumber {
		e.fail(fmt.Errorf("%q is not a number", lit))
		return
	}
	value, err := convert(nil, JSON, e.s, lit, defaultDepth)
	if err != nil {
		e.fail(err)
		return
	}
	e.raw(value)
}

func (e *encoder) reflected(v reflect.Value, depth int) {
	if depth >= defaultDepth {
		e.fail(errGoTooDeep)
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		e.boolean(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.signed(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		e.integer(false, v.Uint())
	case reflect.Float32, reflect.Float64:
		e.float(v.Float())
	case reflect.String:
		e.goString(v.String())
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			e.null()
			return
		}
		e.any(v.Elem().Interface(), depth+1)
	case reflect.Slice, reflect.Array:
		e.reflectedList(v, depth)
	case reflect.Map:
		e.reflectedMap(v, depth)
	case reflect.Struct:
		e.reflectedStruct(v, depth)
	default:
		e.fail(fmt.Errorf("no encoding for a value of type %v", v.Type()))
	}
}

func (e *encoder) reflectedList(v reflect.Value, depth int) {
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		e.binary(v.Bytes())
		return
	}
	mark := e.openList(v.Len())
	for i := range v.Len() {
		e.any(v.Index(i).Interface(), depth+1)
	}
	e.closeList(mark, v.Len())
}

func (e *encoder) reflectedMap(v reflect.Value, depth int) {
	if v.Type().Key().Kind() != reflect.String {
		e.fail(fmt.Errorf("no encoding for a map with keys of type %v", v.Type().Key()))
		return
	}
	d := make(map[string]any, v.Len())
	for it := v.MapRange(); it.Next(); {
		d[it.Key().String()] = it.Value().Interface()
	}
	e.dict(d, depth)
}

// reflectedStruct writes the exported fields as a map, under their Go names. The
// router's event history is such a struct, and its Arguments may be opaque.
func (e *encoder) reflectedStruct(v reflect.Value, depth int) {
	d := make(map[string]any, v.NumField())
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			d[f.Name] = v.Field(i).Interface()
		}
	}
	if args, ok := d["Arguments"].(wamp.List); ok {
		if p := opaque(args, nil); p != nil {
			list, dict, err := p.Values()
			if err != nil {
				e.fail(err)
				return
			}
			d["Arguments"], d["ArgumentsKw"] = list, dict
		}
	}
	e.dict(d, depth)
}
