package wamp

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/anybridge/anybridge/core"
)

// decodeStrict decodes JSON into the struct that v points to. Keys that it does not
// know are errors, all at once, each with its place and the nearest known key. No
// error shows a value.
func decodeStrict(data []byte, v any) error {
	if err := errors.Join(unknownKeys(data, reflect.TypeOf(v).Elem(), "")...); err != nil {
		return err
	}
	err := json.Unmarshal(data, v)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s: want %s", e.Field, describe(e.Type))
	}
	return err
}

// unknownKeys walks data along the type and reports the keys that have no field.
func unknownKeys(data []byte, t reflect.Type, path string) (errs []error) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if own(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		var object map[string]json.RawMessage
		if json.Unmarshal(data, &object) != nil {
			return nil // Unmarshal will say it better
		}
		fields := jsonFields(t)
		for _, key := range slices.Sorted(maps.Keys(object)) {
			field, ok := fields[key]
			if !ok {
				errs = append(errs, unknownKey(join(path, key), key, slices.Sorted(maps.Keys(fields))))
				continue
			}
			errs = append(errs, unknownKeys(object[key], field, join(path, key))...)
		}
	case reflect.Map:
		var object map[string]json.RawMessage
		if json.Unmarshal(data, &object) != nil {
			return nil
		}
		for _, key := range slices.Sorted(maps.Keys(object)) {
			errs = append(errs, unknownKeys(object[key], t.Elem(), join(path, key))...)
		}
	case reflect.Slice:
		var list []json.RawMessage
		if json.Unmarshal(data, &list) != nil {
			return nil
		}
		for i, item := range list {
			errs = append(errs, unknownKeys(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	return errs
}

// own reports whether the type reads JSON in its own way.
func own(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = t.Field(i).Type
		}
	}
	return fields
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func unknownKey(path, key string, known []string) error {
	if near := core.Nearest(key, known); near != "" {
		return fmt.Errorf("%s: unknown key; did you mean %q?", path, near)
	}
	return fmt.Errorf("%s: unknown key; known are %s", path, strings.Join(known, ", "))
}

// describe names a JSON type as users know it.
func describe(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a map"
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64:
		return "an integer"
	}
	return "a value of another type"
}
