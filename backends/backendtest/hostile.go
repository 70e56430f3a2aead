package backendtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/core"
)

// hostile is a payload that is valid JSON, and means no good.
type hostile struct {
	name    string
	payload core.Payload
}

// generated is how many random payloads there are beside the chosen ones.
const generated = 200

func (s *suite) hostilePayloads() []hostile {
	var all []hostile
	add := func(name string, args, kwargs string) {
		h := hostile{name: name}
		if args != "" {
			h.payload.Args = json.RawMessage(args)
		}
		if kwargs != "" {
			h.payload.Kwargs = json.RawMessage(kwargs)
		}
		all = append(all, h)
	}
	for i, text := range hostileTexts() {
		add(fmt.Sprintf("text %d", i), "["+text+"]", "")
		add(fmt.Sprintf("key and value %d", i), "", "{"+text+":"+text+"}")
	}
	add("nothing", "", "")
	add("empty args", "[]", "")
	add("empty kwargs", "", "{}")
	add("empty both", "[]", "{}")
	add("null", "[null]", `{"":null}`)
	add("white space", " [ 1 , 2 ]\n", "{ \"a\" :\t1 }")
	add("large numbers", `[9007199254740993,-9223372036854775808,18446744073709551615,123456789012345678901234567890]`, "")
	add("fractions", `[0.1,-0.0,1e15,2.5e-3,1.7976931348623157e308,5e-324]`, "")
	add("same key twice", "", `{"a":1,"a":2}`)
	add("reserved keys", "", `{"args":[1],"kwargs":{"a":1},"type":"call","id":1,"reply_to":"x","caller_token":"admin","__proto__":{}}`)
	add("deep list", strings.Repeat("[", 200)+strings.Repeat("]", 200), "")
	add("deep object", "", strings.Repeat(`{"a":`, 200)+"1"+strings.Repeat("}", 200))
	add("deeper list", strings.Repeat("[", 5000)+strings.Repeat("]", 5000), "")
	add("long list", "["+strings.Repeat("0,", 20000)+"0]", "")
	add("one mebibyte", `["`+strings.Repeat("x", 1<<20)+`"]`, "")
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same ones in every run
	for i := range generated {
		add(fmt.Sprintf("generated %d", i), "["+randomText(r)+"]", "{"+randomText(r)+":"+randomText(r)+"}")
	}
	return all
}

// hostileTexts are JSON strings with what ends lines, tags, commands and frames.
func hostileTexts() []string {
	texts := []string{
		`""`, `" "`, `"\u0000"`, `"a\u0000b"`, `"\r\n"`, `"\n"`, `"a\rb"`, `"\u0001ACTION waves\u0001"`, `"\u0001VERSION\u0001"`,
		`"x\r\nQUIT :bye\r\nPRIVMSG #test :forged"`, `":admin!a@b PRIVMSG #test :forged"`, `"@time=1;account=admin :x"`,
		`"*3\r\n$7\r\nPUBLISH\r\n$1\r\nx\r\n$1\r\ny\r\n"`, `"{\"args\":[1]}"`, `"[1,2"`, `"</body></message></stream:stream>"`,
		`"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]>&b;"`, `"]]>"`, `"&lt;&amp;&#0;&#x1f;"`, `"'; DROP TABLE x; --"`,
		`"${x} {{x}} %s %n $(x)"`, `"\u202e\u2066\ufeff"`, `"\u2028\u2029\u0085"`, `"\uffff\ufffe\ufdd0"`, `"\ud83d\ude00 é 漢字"`,
		`"\ud800"`, `"\udc00\ud800x"`, `"\u007f\u0080\u009f"`, `"!help"`, `"/quit"`, `"."`, `"\\"`, `"\""`,
	}
	var controls strings.Builder
	for c := range 32 {
		fmt.Fprintf(&controls, `\u%04x`, c)
	}
	texts = append(texts, `"`+controls.String()+`"`)
	for _, n := range []int{400, 510, 512, 1024, 5000, 70000} {
		texts = append(texts, `"`+strings.Repeat("é", n/2)+`"`, `"`+strings.Repeat("x", n)+`"`)
	}
	return texts
}

// randomText is a JSON string of letters, marks and escapes in any order.
func randomText(r *rand.Rand) string {
	pieces := []string{"a", "é", "漢", "😀", " ", `\r`, `\n`, `\u0000`, `\u0001`, `\ud800`, `\udfff`, `\\`, `\"`, ":", "!", "@", "#", "<", ">", "&", ";", "'", "*", "$", "{", "}", "[", "]", "PRIVMSG", "</x>", "%"}
	var b strings.Builder
	b.WriteByte('"')
	for range r.IntN(40) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	b.WriteByte('"')
	return b.String()
}

// testHostilePayloads: what is accepted arrives as it was, what is refused says why, and
// neither harms the events after it.
func (s *suite) testHostilePayloads(t *testing.T) {
	topic := s.topic()
	in := s.subscribe(t, s.b, exact(s.heard(topic)))
	refused, at := 0, 0
	payloads := s.hostilePayloads()
	if s.Payload != nil && len(payloads) > s.Events { // a system that limits floods
		payloads = payloads[:s.Events]
	}
	for i, h := range payloads {
		err := s.publish(s.a, topic, h.payload)
		if bad := oneOf(err, "", core.InvalidArgument, core.TooLarge); bad != nil {
			t.Fatalf("%s: Publish: %v", h.name, bad)
		}
		if err != nil {
			refused++
		}
		if s.Payload == nil {
			if err != nil {
				continue
			}
			e := in.wait(t, at+1)[at]
			at++
			checkEvent(t, e, s.heard(topic))
			if s.canonical(e.Payload) != s.canonical(h.payload) {
				t.Errorf("%s arrived as %s", h.name, clip(e.JSON()))
			}
			continue
		}
		// As text it may arrive as something else, or in several parts, but in good order.
		s.mustPublish(t, s.a, topic, s.payload(i))
		for _, e := range in.waitFor(t, s.payload(i)) {
			checkEvent(t, e, s.heard(topic))
		}
	}
	s.mustPublish(t, s.a, topic, s.payload(1<<20))
	in.waitFor(t, s.payload(1<<20))
	t.Logf("%d of %d hostile payloads were refused", refused, len(payloads))
	s.testHuge(t, topic, in)
}

// testHuge sends what no limit allows.
func (s *suite) testHuge(t *testing.T, topic string, in *inbox) {
	t.Helper()
	args := bytes.Repeat([]byte("x"), 40<<20)
	args[0], args[1], args[len(args)-2], args[len(args)-1] = '[', '"', '"', ']'
	mark := len(in.all())
	err := s.publish(s.a, topic, core.Payload{Args: args})
	if bad := oneOf(err, "", core.InvalidArgument, core.TooLarge, core.Unavailable); bad != nil {
		t.Errorf("40 MiB: Publish: %v", bad)
	}
	s.up(t, s.a)
	s.mustPublish(t, s.a, topic, s.payload(1<<21))
	in.waitFor(t, s.payload(1<<21))
	if lost, unknown := in.lost(); err == nil && s.Payload == nil && len(in.all()) == mark+1 && lost == 0 && !unknown {
		t.Error("40 MiB were accepted and did not arrive")
	}
}

// unusualNames are names that some systems give a meaning to, and that core allows.
func unusualNames() []string {
	return []string{
		"*", "?", "[a]", "h?llo", "a*", "#", "+", "a/+/b", "a/#", "$SYS/x", "/", "//", "a/b", ".", "..", "a..b", ".a", "a.", "../../etc/passwd",
		" ", "a b", "a\tb"[:1] + "%20", "%00", "%s", "'", "\"", "\\", "<x/>", "&amp;", "a:b", ":a", "a,b", "a;b", "@a", "!a", "~", "é", "漢字.x", "😀",
		"\u202ea", "\u00a0", "__proto__", "null", "0", "-1", strings.Repeat("n", 300), strings.Repeat("n", core.MaxNameLen), strings.Repeat("é.", 300),
		"#test,#other", "#test 0", "com.test key",
	}
}

// testUnusualNames: a name is taken as it is or refused, never as something else.
func (s *suite) testUnusualNames(t *testing.T) {
	topic := s.topic()
	in := s.subscribe(t, s.b, exact(s.heard(topic)))
	for i, name := range unusualNames() {
		stream, err := s.b.Subscribe(s.patient(t), exact(s.heard(name)))
		s.wantRefusal(t, "Subscribe", name, err)
		if err == nil {
			own := s.read(t, stream)
			err := s.publish(s.a, name, s.payload(1000+i))
			s.wantRefusal(t, "Publish", name, err)
			if err == nil {
				own.waitFor(t, s.payload(1000+i))
				for _, e := range own.all() {
					checkEvent(t, e, s.heard(name))
				}
			}
			s.closeStream(t, stream.Close)
		} else {
			s.wantRefusal(t, "Publish", name, s.publish(s.a, name, s.payload(1000+i)))
		}
		if s.info.Can.Call {
			_, err := s.call(s.a, name, s.payload(1))
			s.wantRefusal(t, "Call", name, err)
		}
		if s.info.Can.CanRegister(core.Exact) {
			stream, err := s.b.Register(s.patient(t), exact(name), core.RegisterOptions{})
			s.wantRefusal(t, "Register", name, err)
			if err == nil {
				s.closeStream(t, stream.Close)
			}
		}
	}
	s.mustPublish(t, s.a, topic, s.payload(1))
	if before := in.waitFor(t, s.payload(1)); len(before) > 0 {
		t.Errorf("%d events for other names came on %s", len(before), topic)
	}
}

// wantRefusal checks the answer to a name that a system may have reasons to refuse.
func (s *suite) wantRefusal(t testing.TB, what, name string, err error) {
	t.Helper()
	if bad := oneOf(err, "", core.InvalidArgument, core.Forbidden, core.NotFound, core.AlreadyExists, core.NoSuchProcedure, core.TooLarge, core.Application); bad != nil {
		t.Errorf("%s with the name %q: %v", what, clip(name), bad)
	}
}

// testBadNames: names that the system does not have are InvalidArgument.
func (s *suite) testBadNames(t *testing.T) {
	for _, name := range s.BadNames {
		want := func(what string, err error) {
			t.Helper()
			if core.CodeOf(err) != core.InvalidArgument {
				t.Errorf("%s with the name %q: got %v (%s), want %s", what, name, err, core.CodeOf(err), core.InvalidArgument)
			}
		}
		if s.info.Can.Publish {
			want("Publish", s.publish(s.a, name, s.payload(1)))
		}
		if s.info.Can.Call {
			_, err := s.call(s.a, name, s.payload(1))
			want("Call", err)
		}
		if s.can(core.Exact) {
			stream, err := s.a.Subscribe(s.patient(t), exact(name))
			want("Subscribe", err)
			if err == nil {
				s.closeStream(t, stream.Close)
			}
		}
		if s.info.Can.CanRegister(core.Exact) {
			stream, err := s.a.Register(s.patient(t), exact(name), core.RegisterOptions{})
			want("Register", err)
			if err == nil {
				s.closeStream(t, stream.Close)
			}
		}
	}
}
