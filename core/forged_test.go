package core

import (
	"encoding/json"
	"testing"
)

func TestForgedPublishersAreTakenOut(t *testing.T) {
	for details, want := range map[string]string{
		``:                                       ``,
		`{"publisher":7}`:                        `{"publisher":7}`,
		`{"publisher_token":"shop"}`:             `{}`,
		`{"publisher\u005ftoken":"shop"}`:        `{}`,
		`{"a": "\"", "b": 1}`:                    `{"a": "\"", "b": 1}`,
		`{"publisher_token":"shop","topic":"t"}`: `{"topic":"t"}`,
		`["publisher_token"]`:                    ``,
	} {
		e := &Event{Details: json.RawMessage(details)}
		if got := string(withoutForgery(e).Details); got != want || string(e.Details) != details {
			t.Errorf("%s: got %s, want %s", details, got, want)
		}
	}
}
