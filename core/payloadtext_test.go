package core

import (
	"encoding/json"
	"testing"
)

func TestPayloadAsText(t *testing.T) {
	for _, c := range []struct{ args, kwargs, want string }{
		{``, ``, ``},
		{`[]`, `{}`, ``},
		{`["hello"]`, ``, `hello`},
		{`["a\nb"]`, `{}`, "a\nb"},
		{`["Paris", 21.50, true, null]`, ``, `Paris 21.50 true null`},
		{`[{"b": 1, "a": 9007199254740993}]`, ``, `{"b":1,"a":9007199254740993}`},
		{`[[1, 2]]`, ``, `[1,2]`},
		{`[1, [2]]`, ``, `{"args":[1,[2]]}`},
		{``, `{"text": "hello"}`, `hello`},
		{`[]`, `{"text": 1}`, `{"args":[],"kwargs":{"text":1}}`},
		{`["x"]`, `{"a": 1}`, `{"args":["x"],"kwargs":{"a":1}}`},
	} {
		p := Payload{Args: json.RawMessage(c.args), Kwargs: json.RawMessage(c.kwargs)}
		if c.args == "" {
			p.Args = nil
		}
		if c.kwargs == "" {
			p.Kwargs = nil
		}
		if got := p.Text(); got != c.want {
			t.Errorf("args %s kwargs %s: got %q, want %q", c.args, c.kwargs, got, c.want)
		}
	}
	if got := TextPayload("a\"\xff"); string(got.Args) != `["a\"\ufffd"]` || got.Kwargs != nil {
		t.Errorf("got %s", got.Args)
	}
}
