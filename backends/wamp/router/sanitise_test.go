package router

import (
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

func decode(t testing.TB, text string) wamp.Message {
	t.Helper()
	m, err := wire.Decode(wire.JSON, []byte(text), wire.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

func TestSanitise(t *testing.T) {
	for _, c := range []struct {
		text   string
		action action
		uri    wamp.URI // of the answer, or of what is forwarded instead
		why    string
	}{
		{`[16,1,{},"com.topic"]`, forward, "", ""},
		{`[16,1,{"acknowledge":true,"exclude":[1,2],"eligible_authid":["a"],"x_foo":[{}]},"com.topic",[1],{"a":1}]`, forward, "", ""},
		{`[16,1,{"exclude_me":1},"com.topic"]`, ignore, "", "option exclude_me: want a boolean"},
		{`[16,1,{"acknowledge":true,"exclude_me":1},"com.topic"]`, answer, wamp.ErrInvalidArgument, "option exclude_me: want a boolean"},
		{`[16,1,{"acknowledge":true,"disclose_me":"yes"},"com.topic"]`, answer, wamp.ErrInvalidArgument, "option disclose_me"},
		{`[16,1,{"acknowledge":true,"retain":1},"com.topic"]`, answer, wamp.ErrInvalidArgument, "option retain"},
		{`[16,1,{"acknowledge":true,"exclude":1},"com.topic"]`, answer, wamp.ErrInvalidArgument, "option exclude: want a list of session ids"},
		{`[16,1,{"acknowledge":true,"eligible":["1"]},"com.topic"]`, answer, wamp.ErrInvalidArgument, "option eligible"},
		{`[16,1,{"acknowledge":true,"eligible":[-1]},"com.topic"]`, answer, wamp.ErrInvalidArgument, "option eligible"},
		{`[16,1,{"acknowledge":true,"eligible":[1.5]},"com.topic"]`, answer, wamp.ErrInvalidArgument, "option eligible"},
		{`[16,1,{"acknowledge":true,"eligible":[9007199254740993]},"com.topic"]`, answer, wamp.ErrInvalidArgument, "option eligible"},
		{`[16,1,{"acknowledge":true,"exclude_authrole":[1]},"com.topic"]`, answer, wamp.ErrInvalidArgument, "option exclude_authrole: want a list of strings"},
		{`[16,1,{"acknowledge":true,"exclude_authid":"a","eligible_authid":3},"com.topic"]`, answer, wamp.ErrInvalidArgument, "option eligible_authid"},
		{`[16,1,{"acknowledge":true},"com..topic"]`, answer, wamp.ErrInvalidURI, "com..topic"},
		{`[16,1,{},"com topic"]`, ignore, "", "invalid topic"},
		{`[16,1,{"ppt_scheme":"wamp"},"com.topic"]`, abort, "", "PUBLISH with payload passthru"},
		{`[16,1,{"ppt_serializer":1},""]`, abort, "", "PUBLISH with payload passthru"},

		{`[32,1,{},"com.topic"]`, forward, "", ""},
		{`[32,1,{"match":"prefix","get_retained":true},"com."]`, forward, "", ""},
		{`[32,1,{"match":"wildcard"},".."]`, forward, "", ""},
		{`[32,1,{"match":null},"com.topic"]`, forward, "", ""},
		{`[32,1,{"match":"regex"},"com.topic"]`, answer, wamp.ErrInvalidArgument, "option match: want exact, prefix or wildcard"},
		{`[32,1,{"match":7},"com.topic"]`, answer, wamp.ErrInvalidArgument, "option match"},
		{`[32,1,{"match":[]},"com.topic"]`, answer, wamp.ErrInvalidArgument, "option match"},
		{`[32,1,{"get_retained":"true"},"com.topic"]`, answer, wamp.ErrInvalidArgument, "option get_retained"},
		{`[32,1,{},"com..topic"]`, answer, wamp.ErrInvalidURI, ""},
		{`[32,1,{},""]`, answer, wamp.ErrInvalidURI, ""},
		{`[32,1,{"match":"prefix"},"com..x"]`, answer, wamp.ErrInvalidURI, ""},
		{`[32,1,{"match":"wildcard"},"com.#"]`, answer, wamp.ErrInvalidURI, ""},

		{`[64,1,{"invoke":"roundrobin","match":"exact"},"com.proc"]`, forward, "", ""},
		{`[64,1,{"invoke":"all"},"com.proc"]`, answer, wamp.ErrInvalidArgument, "option invoke: want single"},
		{`[64,1,{"disclose_caller":{}},"com.proc"]`, answer, wamp.ErrInvalidArgument, "option disclose_caller"},
		{`[64,1,{"forward_timeout":1},"com.proc"]`, answer, wamp.ErrInvalidArgument, "option forward_timeout"},
		{`[64,1,{},"wamp.session.count"]`, answer, wamp.ErrInvalidURI, ""},
		{`[64,1,{},"com.proc "]`, answer, wamp.ErrInvalidURI, ""},

		{`[48,1,{"timeout":1000,"receive_progress":true,"disclose_me":true,"progress":false},"com.proc"]`, forward, "", ""},
		{`[48,1,{"timeout":1000.0},"com.proc"]`, forward, "", ""},
		{`[48,1,{"timeout":18446744073709551615},"com.proc"]`, forward, "", ""},
		{`[48,1,{"timeout":-1},"com.proc"]`, answer, wamp.ErrInvalidArgument, "option timeout"},
		{`[48,1,{"timeout":"1s"},"com.proc"]`, answer, wamp.ErrInvalidArgument, "option timeout"},
		{`[48,1,{"timeout":123456789012345678901234567890},"com.proc"]`, answer, wamp.ErrInvalidArgument, "option timeout"},
		{`[48,1,{"receive_progress":1},"com.proc"]`, answer, wamp.ErrInvalidArgument, "option receive_progress"},
		{`[48,1,{"progress":1},"com.proc"]`, answer, wamp.ErrInvalidArgument, "option progress"},
		{`[48,1,{"progress":true},"com.proc"]`, abort, "", "progressive_call_invocations"},
		{`[48,1,{"ppt_cipher":null},"com.proc"]`, abort, "", "payload passthru"},
		{`[48,1,{},""]`, answer, wamp.ErrInvalidURI, ""},

		{`[49,1,{"mode":"kill"}]`, forward, "", ""},
		{`[49,1,{}]`, forward, "", ""},
		{`[49,1,{"mode":"hard"}]`, answer, wamp.ErrInvalidArgument, "option mode"},
		{`[49,1,{"mode":{"kill":true}}]`, answer, wamp.ErrInvalidArgument, "option mode"},
		{`[70,1,{"progress":true},[1]]`, forward, "", ""},
		{`[70,1,{"progress":"x"}]`, forward, wamp.ErrInvalidArgument, "option progress"},
		{`[70,1,{"ppt_scheme":1}]`, abort, "", "payload passthru"},
		{`[8,68,1,{},"com.error"]`, forward, "com.error", ""},
		{`[8,68,1,{},""]`, forward, "wamp.error.runtime_error", ""},
		{`[8,48,1,{},"com.error"]`, abort, "", "clients answer invocations only"},
		{`[8,68,1,{"ppt_scheme":"x"},"com.error"]`, abort, "", "payload passthru"},
		{`[8,68,0,{},"com.error"]`, abort, "", "request id 0"},
		{`[34,1,5]`, forward, "", ""},
		{`[66,1,5]`, forward, "", ""},
		{`[6,{"x":{}},"wamp.close.normal"]`, forward, "", ""},
		{`[3,{},"wamp.error.x"]`, leave, "", ""},

		{`[1,"realm1",{}]`, abort, "", "HELLO in an open session"},
		{`[5,"x",{}]`, abort, "", "AUTHENTICATE in an open session"},
		{`[2,1,{}]`, abort, "", "WELCOME is sent by routers only"},
		{`[4,"x",{}]`, abort, "", "CHALLENGE"},
		{`[17,1,1]`, abort, "", "PUBLISHED"},
		{`[33,1,1]`, abort, "", "SUBSCRIBED"},
		{`[35,1]`, abort, "", "UNSUBSCRIBED"},
		{`[36,1,1,{}]`, abort, "", "EVENT"},
		{`[50,1,{}]`, abort, "", "RESULT"},
		{`[65,1,1]`, abort, "", "REGISTERED"},
		{`[67,1]`, abort, "", "UNREGISTERED"},
		{`[68,1,1,{}]`, abort, "", "INVOCATION"},
		{`[69,1,{}]`, abort, "", "INTERRUPT"},
	} {
		v := sanitise(decode(t, c.text), announced{})
		var uri wamp.URI
		if e, ok := v.message.(*wamp.Error); ok {
			uri = e.Error
		}
		if v.action != c.action || uri != c.uri || !strings.Contains(v.why, c.why) {
			t.Errorf("%s: action %d %q %q, want %d %q …%s…", c.text, v.action, uri, v.why, c.action, c.uri, c.why)
		}
	}
	if v := sanitise(decode(t, `[48,1,{"progress":true},"com.proc"]`), announced{progressiveInvocations: true}); v.action != forward {
		t.Errorf("announced progress: %+v", v)
	}
	if v := sanitise(nil, announced{}); v.action != abort {
		t.Errorf("nil: %+v", v)
	}
}

func TestSanitiseNormalises(t *testing.T) {
	sub, _ := sanitise(decode(t, `[32,1,{"match":null},"a"]`), announced{}).message.(*wamp.Subscribe)
	reg, _ := sanitise(decode(t, `[64,1,{},"a"]`), announced{}).message.(*wamp.Register)
	bye, _ := sanitise(decode(t, `[6,{"message":"x"},"wamp.close.normal"]`), announced{}).message.(*wamp.Goodbye)
	if sub.Options["match"] != "exact" || reg.Options["match"] != "exact" || reg.Options["invoke"] != "single" || len(bye.Details) != 0 {
		t.Errorf("%v %v %v", sub.Options, reg.Options, bye.Details)
	}
}

func TestSanitiseHello(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                  "roles",
		`{"roles":null}`:                      "roles",
		`{"roles":{}}`:                        "roles",
		`{"roles":[]}`:                        "roles",
		`{"roles":{"spectator":{}}}`:          "at least one",
		`{"roles":{"caller":7}}`:              "roles.caller",
		`{"roles":{"caller":{"features":7}}}`: "roles.caller.features",
		`{"roles":{"caller":{}},"authid":7}`:  "authid",
		`{"roles":{"caller":{}},"authid":"` + strings.Repeat("x", 300) + `"}`: "authid",
		`{"roles":{"caller":{}},"authmethods":"ticket"}`:                      "authmethods",
		`{"roles":{"caller":{}},"authmethods":["ticket",7]}`:                  "authmethods",
		`{"roles":{"caller":{}},"authextra":[]}`:                              "authextra",
	} {
		_, err := sanitiseHello(decode(t, `[1,"realm1",`+text+`]`).(*wamp.Hello))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want …%s…", text, err, want)
		}
	}
	c, err := sanitiseHello(decode(t, `[1,"realm1",{"agent":"x","authrole":"trusted","session":1,"transport":{},"roles":{
		"callee":{"features":{"progressive_call_results":true,"progressive_call_invocations":true,"payload_passthru_mode":true,"made_up":true}},
		"subscriber":{"features":{"publisher_identification":true,"pattern_based_subscription":"yes"}},"caller":null}}]`).(*wamp.Hello))
	if err != nil {
		t.Fatal(err)
	}
	if !c.swallowsInterrupt || !c.identifiesPublisher || c.takesTimeout || c.progressiveInvocations || len(c.details) != 2 {
		t.Errorf("%+v", c)
	}
	features := func(role string) wamp.Dict {
		return c.details["roles"].(wamp.Dict)[role].(wamp.Dict)["features"].(wamp.Dict)
	}
	if f := features("callee"); len(f) != 3 || f["call_canceling"] != true || f["call_timeout"] != true || f["progressive_call_results"] != true {
		t.Errorf("callee %v", f)
	}
	if f := features("subscriber"); len(f) != 1 {
		t.Errorf("subscriber %v", f)
	}
}

// FuzzSanitise feeds messages to the sanitiser. What it forwards must hold what
// nexus relies on.
func FuzzSanitise(f *testing.F) {
	for _, seed := range []string{
		`[1,"realm1",{"roles":{"caller":{"features":{"call_canceling":true}}},"authmethods":["ticket"],"authid":"a"}]`,
		`[16,1,{"acknowledge":true,"exclude":[1],"eligible_authrole":["x"],"exclude_me":false,"retain":true},"com.topic",[1]]`,
		`[16,1,{"ppt_scheme":"wamp","ppt_serializer":1},"com.topic"]`,
		`[32,1,{"match":"wildcard","get_retained":true},"com..x"]`, `[64,1,{"match":"prefix","invoke":"random"},"com."]`,
		`[48,1,{"timeout":1e300,"progress":true},"com.proc"]`, `[49,1,{"mode":[]}]`, `[70,1,{"progress":null}]`,
		`[8,68,1,{"x":{"y":[null]}},""]`, `[34,1,2]`, `[66,1,2]`, `[6,{},"x"]`, `[36,1,1,{}]`,
	} {
		f.Add(uint8(wire.JSON), []byte(seed))
		for _, ser := range []wire.Serialization{wire.MsgPack, wire.CBOR} {
			b, err := wire.Convert(nil, wire.JSON, ser, []byte(seed))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(ser), b)
		}
	}
	f.Fuzz(func(t *testing.T, ser uint8, frame []byte) {
		m, err := wire.Decode(wire.Serialization(ser%3+1), frame, wire.Limits{})
		if err != nil {
			return
		}
		if h, ok := m.(*wamp.Hello); ok {
			c, err := sanitiseHello(h)
			if err == nil {
				checkHello(t, c)
			}
		}
		for _, peer := range []announced{{}, {progressiveInvocations: true}} {
			v := sanitise(m, peer)
			switch v.action {
			case forward, answer:
				if v.message == nil {
					t.Fatal("nothing to forward or answer")
				}
			case abort:
				if v.why == "" {
					t.Fatal("abort without a reason")
				}
			}
			if v.action == forward {
				checkForwarded(t, v.message, peer)
			}
			if v.action == forward || v.action == answer {
				if _, err := wire.Append(nil, wire.CBOR, v.message); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// checkHello makes sure that only what nexus knows reaches it.
func checkHello(t *testing.T, c client) {
	for k := range c.details {
		if k != "roles" && k != "agent" {
			t.Fatalf("HELLO detail %s", k)
		}
	}
	for _, role := range c.details["roles"].(wamp.Dict) {
		for name, on := range role.(wamp.Dict)["features"].(wamp.Dict) {
			if on != true || !knownFeature(name) {
				t.Fatalf("feature %s: %v", name, on)
			}
		}
	}
}

// checkForwarded states what nexus relies on.
func checkForwarded(t *testing.T, m wamp.Message, peer announced) {
	options := func(id wamp.ID, d wamp.Dict, typeOf func(string) optionType) {
		if id == 0 || id > wamp.MaxID {
			t.Fatalf("request %d", id)
		}
		for k, v := range d {
			if strings.HasPrefix(k, "ppt_") || checkOption(v, typeOf(k)) != "" {
				t.Fatalf("option %s: %v", k, v)
			}
		}
	}
	switch m := m.(type) {
	case *wamp.Publish:
		options(m.Request, m.Options, publishOption)
		if !m.Topic.ValidURI(false, "") {
			t.Fatalf("topic %q", m.Topic)
		}
		if a := audienceOf(m.Options); a != nil {
			a.admits(1, "a", "b")
		}
	case *wamp.Subscribe:
		options(m.Request, m.Options, subscribeOption)
		if !m.Topic.ValidURI(false, m.Options["match"].(string)) {
			t.Fatalf("topic %q", m.Topic)
		}
	case *wamp.Register:
		options(m.Request, m.Options, registerOption)
		if !m.Procedure.ValidURI(false, m.Options["match"].(string)) || m.Options["invoke"] == nil {
			t.Fatalf("procedure %q", m.Procedure)
		}
	case *wamp.Call:
		options(m.Request, m.Options, callOption)
		if d := timeoutOf(m.Options); d < 0 || d > maxTimeout || flag(m.Options, "progress") && !peer.progressiveInvocations {
			t.Fatalf("options %v", m.Options)
		}
	case *wamp.Cancel:
		options(m.Request, m.Options, cancelOption)
	case *wamp.Yield:
		options(m.Request, m.Options, yieldOption)
	case *wamp.Error:
		options(m.Request, m.Details, noOption)
		if m.Type != wamp.INVOCATION || m.Error == "" {
			t.Fatalf("%+v", m)
		}
	case *wamp.Unsubscribe:
		options(m.Request, nil, noOption)
	case *wamp.Unregister:
		options(m.Request, nil, noOption)
	case *wamp.Goodbye:
	default:
		t.Fatalf("%v was forwarded", m.MessageType())
	}
}
