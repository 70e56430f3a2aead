package redis

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/anybridge/anybridge/core"
)

// decodeStrict decodes a section into the struct that v points to and reports every
// key that the struct does not have. No error shows a value.
func decodeStrict(data []byte, v any) error {
	if err := errors.Join(strangers(data, reflect.TypeOf(v).Elem(), "")...); err != nil {
		return err
	}
	err := json.Unmarshal(data, v)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s: want %s", e.Field, kindName(e.Type))
	}
	return err
}

// strangers lists the keys of the JSON object data, and of those inside it, for
// which the type has no field.
func strangers(data []byte, t reflect.Type, path string) (errs []error) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var object map[string]json.RawMessage
	if t.Kind() != reflect.Struct && t.Kind() != reflect.Map || json.Unmarshal(data, &object) != nil {
		return nil // Unmarshal will say what is wrong
	}
	known := map[string]reflect.Type{}
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			if name := t.Field(i).Tag.Get("json"); name != "" {
				known[name] = t.Field(i).Type
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		place := strings.TrimPrefix(path+"."+key, ".")
		inner := known[key]
		switch {
		case t.Kind() == reflect.Map:
			inner = t.Elem()
		case inner == nil:
			errs = append(errs, stranger(place, key, slices.Sorted(maps.Keys(known))))
			continue
		}
		errs = append(errs, strangers(object[key], inner, place)...)
	}
	return errs
}

func stranger(place, key string, known []string) error {
	if near := core.Nearest(key, known); near != "" {
		return fmt.Errorf("%s: unknown key; did you mean %q?", place, near)
	}
	return fmt.Errorf("%s: unknown key; known are %s", place, strings.Join(known, ", "))
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Struct, reflect.Map:
		return "a map"
	default:
		return "an integer"
	}
}
