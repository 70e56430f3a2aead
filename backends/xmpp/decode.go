package xmpp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/anybridge/anybridge/core"
)

// decode reads the section field by field, so that each mistake has its place and none
// hides another. No error shows a value.
func decode(raw json.RawMessage) (*Config, []error) {
	cfg := &Config{}
	return cfg, decodeMap(raw, "", reflect.ValueOf(cfg).Elem())
}

func decodeMap(raw json.RawMessage, path string, into reflect.Value) (errs []error) {
	var given map[string]json.RawMessage
	if json.Unmarshal(raw, &given) != nil {
		return []error{errors.New(at(path, "want a map"))}
	}
	fields := map[string]reflect.Value{}
	for i := range into.NumField() {
		if name := into.Type().Field(i).Tag.Get("json"); name != "" {
			fields[name] = into.Field(i)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		place := key
		if path != "" {
			place = path + "." + key
		}
		field, ok := fields[key]
		if !ok {
			errs = append(errs, unknownKey(place, key, slices.Sorted(maps.Keys(fields))))
			continue
		}
		errs = append(errs, decodeValue(given[key], place, field)...)
	}
	return errs
}

func decodeValue(raw json.RawMessage, path string, into reflect.Value) (errs []error) {
	text := bytes.TrimLeft(raw, " \t\r\n")
	isString := len(text) > 0 && text[0] == '"'
	switch v := into.Addr().Interface().(type) {
	case *TLSConfig:
		if isString {
			return decodeValue(raw, path, reflect.ValueOf(&v.Mode).Elem())
		}
		return decodeMap(raw, path, into)
	case *RoomConfig:
		if isString {
			return decodeValue(raw, path, reflect.ValueOf(&v.Room).Elem())
		}
		return decodeMap(raw, path, into)
	case *[]RoomConfig:
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			return []error{errors.New(at(path, "want a list"))}
		}
		*v = make([]RoomConfig, len(items))
		for i, item := range items {
			errs = append(errs, decodeValue(item, fmt.Sprintf("%s[%d]", path, i), reflect.ValueOf(&(*v)[i]).Elem())...)
		}
		return errs
	case *core.Secret:
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return []error{errors.New(at(path, "want a string"))}
		}
		*v = core.Secret(s)
	case *Duration:
		if err := v.UnmarshalJSON(raw); err != nil {
			return []error{fmt.Errorf("%s: %w", path, err)}
		}
	default:
		if json.Unmarshal(raw, v) != nil {
			return []error{errors.New(at(path, "want "+describe(into.Type())))}
		}
	}
	return nil
}

func at(path, text string) string {
	if path == "" {
		return text
	}
	return path + ": " + text
}

func unknownKey(path, key string, known []string) error {
	if near := core.Nearest(key, known); near != "" {
		return fmt.Errorf("%s: unknown key; did you mean %q?", path, near)
	}
	return fmt.Errorf("%s: unknown key; known are %s", path, strings.Join(known, ", "))
}

// describe names a type as users know it.
func describe(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list of strings"
	case reflect.Int:
		return "an integer"
	}
	return "a value of another type"
}
