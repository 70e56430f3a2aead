package routes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
)

// env is what expressions know of an event, or of a call or its result. Numbers without
// a fraction or an exponent are integers, up to 64 bits; others are floats: what goes
// through an expression may lose digits, what passes unchanged does not.
type env struct {
	Args    []any          `expr:"args"`
	Kwargs  map[string]any `expr:"kwargs"`
	Text    string         `expr:"text"` // the payload as people read it (core.Payload.Text)
	Topic   string         `expr:"topic"`
	Backend string         `expr:"backend"`
	Details map[string]any `expr:"details"`
	ID      string         `expr:"id"`
	Time    time.Time      `expr:"time"`
}

func newEnv(at core.Address, p core.Payload, details json.RawMessage) (*env, error) {
	e := &env{Topic: at.Name, Backend: at.Backend, Args: []any{}, Kwargs: map[string]any{}, Details: map[string]any{}}
	for _, part := range []struct {
		name string
		text json.RawMessage
		into any
	}{{"args", p.Args, &e.Args}, {"kwargs", p.Kwargs, &e.Kwargs}, {"details", details, &e.Details}} {
		if len(part.text) == 0 {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(part.text))
		d.UseNumber()
		if err := d.Decode(part.into); err != nil {
			return nil, fmt.Errorf("read %s: %w", part.name, err)
		}
	}
	for i, v := range e.Args {
		e.Args[i] = numbers(v)
	}
	for k, v := range e.Kwargs {
		e.Kwargs[k] = numbers(v)
	}
	for k, v := range e.Details {
		e.Details[k] = numbers(v)
	}
	return e, nil
}

// numbers makes the numbers in a value such as expressions can compute with.
func numbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if !strings.ContainsAny(v.String(), ".eE") {
			if n, err := v.Int64(); err == nil {
				return int(n)
			}
		}
		f, err := v.Float64()
		if err != nil {
			return v.String() // beyond what a float can be
		}
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return value
}

// encode gives the JSON of what an expression has given.
func encode(value any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, fmt.Errorf("what the expression gives has no JSON: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
