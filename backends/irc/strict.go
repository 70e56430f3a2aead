package irc

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
)

// mistakes collects what is wrong with a configuration, each with its key.
type mistakes []error

func (m *mistakes) add(key, format string, args ...any) {
	*m = append(*m, fmt.Errorf("%s: %w", key, fmt.Errorf(format, args...)))
}

func (m mistakes) err() error { return errors.Join(m...) }

// decodeStrict decodes a JSON object into the struct that v points to, key by key, so
// that every mistake is found. No message shows a value.
func (m *mistakes) decodeStrict(path string, data json.RawMessage, v any) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		m.add(orSection(path), "want a map")
		return
	}
	fields := map[string]reflect.Value{}
	target := reflect.ValueOf(v).Elem()
	for i := range target.NumField() {
		if name := target.Type().Field(i).Tag.Get("json"); name != "" && name != "-" {
			fields[name] = target.Field(i)
		}
	}
	known := slices.Sorted(maps.Keys(fields))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		place := key
		if path != "" {
			place = path + "." + key
		}
		field, ok := fields[key]
		switch near := core.Nearest(key, known); {
		case ok:
			m.decodeValue(place, object[key], field)
		case near != "":
			m.add(place, "unknown key; did you mean %q?", near)
		default:
			m.add(place, "unknown key; known are %s", strings.Join(known, ", "))
		}
	}
}

// sectioned is a part of the configuration that has a form of its own.
type sectioned interface {
	decode(m *mistakes, path string, data json.RawMessage)
}

func (m *mistakes) decodeValue(path string, data json.RawMessage, field reflect.Value) {
	if string(data) == "null" {
		return
	}
	if field.Kind() == reflect.Pointer {
		fresh := reflect.New(field.Type().Elem())
		m.decodeValue(path, data, fresh.Elem())
		field.Set(fresh)
		return
	}
	if s, ok := field.Addr().Interface().(sectioned); ok {
		s.decode(m, path, data)
		return
	}
	switch field.Kind() {
	case reflect.Struct:
		m.decodeStrict(path, data, field.Addr().Interface())
		return
	case reflect.Slice:
		var list []json.RawMessage
		if json.Unmarshal(data, &list) != nil {
			m.add(path, "want a list")
			return
		}
		field.Set(reflect.MakeSlice(field.Type(), len(list), len(list)))
		for i, item := range list {
			m.decodeValue(fmt.Sprintf("%s[%d]", path, i), item, field.Index(i))
		}
		return
	}
	if json.Unmarshal(data, field.Addr().Interface()) != nil {
		m.add(path, "want %s", map[reflect.Kind]string{
			reflect.Bool: "true or false", reflect.String: "a string", reflect.Int: "an integer",
		}[field.Kind()])
	}
}

func orSection(path string) string {
	if path == "" {
		return "config"
	}
	return path
}

// duration is a time.Duration written like "5s".
type duration time.Duration

func (d *duration) decode(m *mistakes, path string, data json.RawMessage) {
	var text string
	if json.Unmarshal(data, &text) == nil {
		if v, err := time.ParseDuration(text); err == nil && v >= 0 {
			*d = duration(v)
			return
		}
	}
	m.add(path, `want a duration like "5s"`)
}
