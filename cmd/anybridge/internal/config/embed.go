package config

import _ "embed"

//go:embed example.yaml
var example []byte

//go:embed schema.json
var schema []byte

// Example is a commented configuration that says what holds without one.
func Example() []byte { return append([]byte(nil), example...) }

// Schema is the JSON Schema (draft 2020-12) of the configuration, for editors. It
// knows the shape of the file; what values mean only Load checks.
func Schema() []byte { return append([]byte(nil), schema...) }
