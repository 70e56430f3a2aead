package kit_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

type settings struct {
	kit.TLS
	Name     string          `json:"name"`
	On       *bool           `json:"on"`
	Size     int             `json:"size"`
	Share    float64         `json:"share"`
	Wait     time.Duration   `json:"wait"`
	Password core.Secret     `json:"password"`
	Rooms    []room          `json:"rooms"`
	Limits   map[string]*int `json:"limits"`
	Log      struct {
		Level string `json:"level"`
	} `json:"log"`
	Any json.RawMessage `json:"any"`

	resolved string
}

// room is a name, or a map.
type room struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

func (r *room) DecodeConfig(m *kit.Mistakes, place string, data json.RawMessage) {
	if json.Unmarshal(data, &r.Name) == nil {
		return
	}
	type plain room
	m.Decode(place, data, (*plain)(r))
}

func TestDecode(t *testing.T) {
	s := settings{Name: "kept", Size: 3, Wait: time.Second, resolved: "x"}
	err := kit.Decode(json.RawMessage(`{
		"ca": "/x.pem", "on": true, "size": null, "share": 0.5, "wait": "1m", "password": "s3cret",
		"rooms": ["a", {"name": "b", "key": "k"}], "limits": {"x": 1}, "log": {"level": "info"}, "any": [1]
	}`), &s)
	if err != nil {
		t.Fatal(err)
	}
	if s.CA != "/x.pem" || !*s.On || s.Size != 3 || s.Name != "kept" || s.Share != 0.5 || s.Wait != time.Minute || string(s.Password) != "s3cret" ||
		len(s.Rooms) != 2 || s.Rooms[0].Name != "a" || s.Rooms[1] != (room{"b", "k"}) || *s.Limits["x"] != 1 || s.Log.Level != "info" || string(s.Any) != "[1]" {
		t.Errorf("got %+v", s)
	}
	for _, empty := range []string{"", "{}", "null"} {
		if err := kit.Decode(json.RawMessage(empty), &s); err != nil || s.Share != 0.5 {
			t.Errorf("%q: %v, %+v", empty, err, s)
		}
	}
}

func TestDecodeMistakes(t *testing.T) {
	for section, want := range map[string]string{
		`[]`:                     "want a map",
		`{"nam": "s3cret"}`:      `nam: unknown key; did you mean "name"?`,
		`{"Name": "s3cret"}`:     `Name: unknown key; did you mean "name"?`,
		`{"resolved": "s3cret"}`: "resolved: unknown key; known are any, ca, cert, insecure, key, limits, log, name, on, password, rooms, server_name, share, size, wait",
		`{"name": 5, "on": "s3cret", "password": ["s3cret"], "rooms": "s3cret", "size": 1.5, "share": "s3cret", "limits": [], "log": 1}`: `limits: want a map
log: want a map
name: want a string
on: want true or false
password: want a string
rooms: want a list
share: want a number
size: want an integer`,
		`{"wait": 5}`:        `wait: want a duration like "5s"`,
		`{"wait": "s3cret"}`: `wait: want a duration like "5s"`,
		`{"wait": "-1s"}`:    `wait: want a duration like "5s"`,
		`{"rooms": [{"name": "a"}, {"kee": "s3cret", "name": 7}, 5], "limits": {"a": 1, "b": "s3cret"}, "log": {"levl": "s3cret"}}`: `limits.b: want an integer
log.levl: unknown key; did you mean "level"?
rooms[1].kee: unknown key; did you mean "key"?
rooms[1].name: want a string
rooms[2]: want a map`,
	} {
		err := kit.Decode(json.RawMessage(section), &settings{})
		if core.CodeOf(err) != core.InvalidArgument || err.Error() != want {
			t.Errorf("%s:\n%v\nwant:\n%s", section, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: a value shows", section)
		}
	}
}

// What follows from a mistake that is known is not told as another one.
func TestMistakesThatFollow(t *testing.T) {
	var m kit.Mistakes
	m.Decode("", json.RawMessage(`{"nam": "x", "rooms": [5], "wait": "x"}`), &settings{})
	for _, place := range []string{"name", "rooms[0].name", "rooms[0]", "wait"} {
		m.Add(place, "is missing")
	}
	m.Add("rooms[1].name", "is missing")
	m.Add("waiting", "is missing")
	want := `nam: unknown key; did you mean "name"?
rooms[0]: want a map
wait: want a duration like "5s"
rooms[1].name: is missing
waiting: is missing`
	if err := m.Err(); err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	var none kit.Mistakes
	if err := none.Err(); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestTLS(t *testing.T) {
	var m kit.Mistakes
	config := kit.TLS{ServerName: "x", Insecure: true}.Load(&m, "tls")
	if config.ServerName != "x" || !config.InsecureSkipVerify || m.Err() != nil {
		t.Errorf("got %v, %v", config, m.Err())
	}
	kit.TLS{CA: "/nowhere", Cert: "x"}.Load(&m, "tls")
	want := "tls.ca: open /nowhere: no such file or directory\ntls.cert: cert and key belong together"
	if err := m.Err(); err == nil || err.Error() != want {
		t.Errorf("got:\n%v", err)
	}
}

func TestReadPayload(t *testing.T) {
	for message, want := range map[string]string{
		`{"args":[1],"kwargs":{"a":2}}`: `{"args":[1],"kwargs":{"a":2}}`,
		`{"kwargs": {"a":2}}`:           `{"kwargs":{"a":2}}`,
		`{}`:                            `{}`,
		`21.5`:                          `{"args":[21.5]}`,
		` null `:                        `{"args":[null]}`,
		`{"args":1}`:                    `{"args":[{"args":1}]}`,
		`{"args":[],"more":1}`:          `{"args":[{"args":[],"more":1}]}`,
		"text \xff":                     `{"args":["text ` + "\ufffd" + `"]}`,
		"":                              `{"args":[""]}`,
	} {
		if got := kit.ReadPayload([]byte(message)).JSON(); got != want && got != strings.ReplaceAll(want, "\ufffd", `\ufffd`) {
			t.Errorf("%q is %s, want %s", message, got, want)
		}
	}
}
