package kit

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Decode reads a backend's section of the configuration, a JSON object, into the struct
// that into points to; an empty section is {}. Set the defaults before: what the section
// leaves out, or sets to null, stays as it is.
//
// The error is InvalidArgument and tells every mistake at once, each on a line that
// begins with its place, and never a value, which might be a secret. Keys are the names
// in the fields' json tags, exactly; fields without one are the backend's own. Beside
// what JSON has, a field may be
//
//   - a time.Duration, written like "5s", not negative
//   - a core.Secret, written as a string
//   - of a type that implements Decoder, encoding.TextUnmarshaler or json.Unmarshaler
//   - an embedded struct without a tag, whose keys belong to the struct around it.
func Decode(section json.RawMessage, into any) error {
	var m Mistakes
	m.Decode("", section, into)
	return m.Err()
}

// Decoder is a part of the configuration that has a form of its own, such as a name in
// place of a map. It has a pointer receiver, reads data, and notes what is wrong with m.
type Decoder interface {
	DecodeConfig(m *Mistakes, place string, data json.RawMessage)
}

// Decode is the function Decode for what stands at the place, which need not be a map:
// into points to anything that a field may be.
func (m *Mistakes) Decode(place string, data json.RawMessage, into any) {
	if len(data) == 0 {
		data = json.RawMessage("{}")
	}
	m.value(place, data, reflect.ValueOf(into).Elem())
}

func (m *Mistakes) value(place string, data json.RawMessage, into reflect.Value) {
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return
	}
	switch v := into.Addr().Interface().(type) {
	case Decoder:
		v.DecodeConfig(m, place, data)
		return
	case *core.Secret:
		var text string
		if json.Unmarshal(data, &text) != nil {
			m.unreadable(place, "a string")
		}
		*v = core.Secret(text)
		return
	case *time.Duration:
		m.duration(place, data, v)
		return
	case json.Unmarshaler, encoding.TextUnmarshaler:
		if json.Unmarshal(data, v) != nil { // whose text may show the value
			m.unreadable(place, "a valid "+into.Type().Name())
		}
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		if into.IsNil() {
			into.Set(reflect.New(into.Type().Elem()))
		}
		m.value(place, data, into.Elem())
	case reflect.Struct:
		m.object(place, data, into)
	case reflect.Map:
		m.table(place, data, into)
	case reflect.Slice:
		m.items(place, data, into)
	default:
		if json.Unmarshal(data, into.Addr().Interface()) != nil {
			m.unreadable(place, kindName(into.Kind()))
		}
	}
}

func (m *Mistakes) duration(place string, data json.RawMessage, into *time.Duration) {
	var text string
	if json.Unmarshal(data, &text) == nil {
		if d, err := time.ParseDuration(text); err == nil && d >= 0 {
			*into = d
			return
		}
	}
	m.unreadable(place, `a duration like "5s"`)
}

func (m *Mistakes) object(place string, data json.RawMessage, into reflect.Value) {
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil {
		m.unreadable(place, "a map")
		return
	}
	fields := map[string]reflect.Value{}
	fieldsOf(into, fields)
	known := slices.Sorted(maps.Keys(fields))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		at := join(place, key)
		field, ok := fields[key]
		switch near := core.Nearest(key, known); {
		case ok:
			m.value(at, object[key], field)
		case near != "":
			m.Add(at, "unknown key; did you mean %q?", near)
			if _, given := object[near]; !given {
				m.unread(join(place, near))
			}
		default:
			m.Add(at, "unknown key; known are %s", strings.Join(known, ", "))
		}
	}
}

// fieldsOf finds the fields of a struct by their keys.
func fieldsOf(v reflect.Value, fields map[string]reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case key != "" && key != "-" && f.IsExported():
			fields[key] = v.Field(i)
		case key == "" && f.Anonymous && f.Type.Kind() == reflect.Struct:
			fieldsOf(v.Field(i), fields)
		}
	}
}

func (m *Mistakes) table(place string, data json.RawMessage, into reflect.Value) {
	var object map[string]json.RawMessage
	if into.Type().Key().Kind() != reflect.String || json.Unmarshal(data, &object) != nil {
		m.unreadable(place, "a map")
		return
	}
	table := reflect.MakeMapWithSize(into.Type(), len(object))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		item := reflect.New(into.Type().Elem()).Elem()
		m.value(join(place, key), object[key], item)
		table.SetMapIndex(reflect.ValueOf(key).Convert(into.Type().Key()), item)
	}
	into.Set(table)
}

func (m *Mistakes) items(place string, data json.RawMessage, into reflect.Value) {
	var items []json.RawMessage
	if json.Unmarshal(data, &items) != nil {
		m.unreadable(place, "a list")
		return
	}
	list := reflect.MakeSlice(into.Type(), len(items), len(items))
	for i, item := range items {
		m.value(fmt.Sprintf("%s[%d]", place, i), item, list.Index(i))
	}
	into.Set(list)
}

func join(place, key string) string {
	if place == "" {
		return key
	}
	return place + "." + key
}

// kindName names a JSON type as users know it.
func kindName(k reflect.Kind) string {
	switch {
	case k == reflect.Bool:
		return "true or false"
	case k == reflect.String:
		return "a string"
	case k >= reflect.Int && k <= reflect.Int64:
		return "an integer"
	case k >= reflect.Uint && k <= reflect.Uint64:
		return "a positive integer"
	case k == reflect.Float32 || k == reflect.Float64:
		return "a number"
	}
	return "a value of another type"
}
