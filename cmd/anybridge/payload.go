package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// payload is the body of a call or a publish made of command line arguments.
func payload(cmd *cobra.Command, args []string, kwargs string) (map[string]any, error) {
	values := make([]json.RawMessage, len(args))
	for i, arg := range args {
		if !utf8.ValidString(arg) {
			return nil, usageError{cmd: cmd, message: fmt.Sprintf("argument %d is not valid UTF-8", i+1)}
		}
		values[i] = argument(arg)
	}
	body := map[string]any{"args": values}
	if kwargs != "" {
		raw := bytes.TrimSpace([]byte(kwargs))
		if !json.Valid(raw) || !utf8.Valid(raw) || raw[0] != '{' {
			return nil, usageError{cmd: cmd, message: `--kwargs must be a JSON object, such as '{"colour": "red"}'`}
		}
		body["kwargs"] = json.RawMessage(raw)
	}
	return body, nil
}

// argument is arg itself if it is JSON, digit by digit, and otherwise a string.
func argument(arg string) json.RawMessage {
	if json.Valid([]byte(arg)) {
		return json.RawMessage(arg)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(arg) // a string into memory: cannot fail
	return b.Bytes()
}
