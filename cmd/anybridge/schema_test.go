package main

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/wamp"
	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
)

// The schema knows exactly the keys that the WAMP backend reads.
func TestSchemaKnowsTheWAMPSection(t *testing.T) {
	type schema struct {
		Properties           map[string]json.RawMessage
		AdditionalProperties json.RawMessage
		Ref                  string `json:"$ref"`
	}
	var root struct {
		Defs map[string]json.RawMessage `json:"$defs"`
	}
	if err := json.Unmarshal(config.Schema(), &root); err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{".kind": true, ".tokens": true, ".router.tokens": true} // the host's
	var compare func(path string, raw json.RawMessage, typ reflect.Type)
	compare = func(path string, raw json.RawMessage, typ reflect.Type) {
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct && typ.Kind() != reflect.Map {
			return
		}
		var s schema
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(path, err)
		}
		if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
			s = schema{}
			if err := json.Unmarshal(root.Defs[name], &s); err != nil {
				t.Fatal(path, err)
			}
		}
		if typ.Kind() == reflect.Map {
			compare(path+".*", s.AdditionalProperties, typ.Elem())
			return
		}
		var fields []string
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if name == "" || own[path+"."+name] {
				continue
			}
			fields = append(fields, name)
			if s.Properties[name] == nil {
				t.Errorf("%s.%s is not in the schema", path, name)
				continue
			}
			compare(path+"."+name, s.Properties[name], typ.Field(i).Type)
		}
		for name := range s.Properties {
			if !slices.Contains(fields, name) && !own[path+"."+name] {
				t.Errorf("%s.%s is in the schema, but the backend does not know it", path, name)
			}
		}
	}
	compare("", root.Defs["wamp"], reflect.TypeFor[wamp.Config]())
}
