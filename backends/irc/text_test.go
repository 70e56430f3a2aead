package irc

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFold(t *testing.T) {
	for mapping, want := range map[casemapping]string{
		ascii: "#a[]\\^~é", rfc1459: "#a{}|~~é", rfc1459strict: "#a{}|^~é", "rfc7613": "#a[]\\^~é",
	} {
		if got := mapping.fold(`#A[]\^~é`); got != want {
			t.Errorf("%s: %s, want %s", mapping, got, want)
		}
	}
}

func TestLines(t *testing.T) {
	got := lines("a\r\nb\x00\x01c\n\n \nd\te\u2028f\x02g\x02\x7f")
	if want := []string{"a", "bc", "d e", "f\x02g\x02"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSplit(t *testing.T) {
	for _, line := range []string{
		strings.Repeat("é", 300), strings.Repeat("word ", 100), strings.Repeat("👩‍👩‍👧", 40), strings.Repeat("e\u0301", 200), strings.Repeat("x", 1000), "",
		strings.Repeat("\u0301", 300),
	} {
		pieces := split(line, 100)
		for _, p := range pieces {
			if len(p) > 100 || !utf8.ValidString(p) {
				t.Errorf("piece %q", p)
			}
		}
		if whole := strings.Join(pieces, ""); whole != line && strings.Join(pieces, " ") != strings.TrimRight(line, " ") && strings.Join(pieces, " ") != line {
			t.Errorf("%q became %q", line, pieces)
		}
		if strings.HasPrefix(line, "e\u0301") && strings.HasPrefix(pieces[1], "\u0301") {
			t.Errorf("a mark was separated: %q", pieces)
		}
	}
	if got := split("hello wonderful world", 15); !slices.Equal(got, []string{"hello wonderful", "world"}) {
		t.Errorf("%q", got)
	}
}

func TestPlain(t *testing.T) {
	if got := plain("\x02b\x0f \x0304,02c\x03 \x04FF0000,00ff00h\x04 \x1di\x1d\tt"); got != "b c h i t" {
		t.Errorf("%q", got)
	}
}

func TestParseArguments(t *testing.T) {
	for text, want := range map[string]string{
		``:                              `{"args":[]}`,
		`Paris "New York"  3`:           `{"args":["Paris","New York",3]}`,
		`unit=c a=1 b="x y" a=2`:        `{"args":[],"kwargs":{"a":2,"b":"x y","unit":"c"}}`,
		`"3" true null 01 -1.5e3 1e999`: `{"args":["3",true,null,"01",-1.5e3,1e999]}`,
		`"a \"b\" \\ \n"`:               `{"args":["a \"b\" \\ \\n"]}`,
		`=x 1=2 {} [1] a"b`:             `{"args":["=x","1=2","{}","[1]","a\"b"]}`,
		`""`:                            `{"args":[""]}`,
		`http://x/?a=b k=`:              `{"args":["http://x/?a=b"],"kwargs":{"k":""}}`,
		`12345678901234567890`:          `{"args":[12345678901234567890]}`,
	} {
		p, err := parseArguments(text)
		if err != nil || p.JSON() != want {
			t.Errorf("%s: %s (%v), want %s", text, p.JSON(), err, want)
		}
	}
	if _, err := parseArguments(`"x`); err == nil {
		t.Error("an open quotation mark passed")
	}
}

func FuzzParseArguments(f *testing.F) {
	for _, seed := range []string{`a b=1 "c"`, `"`, `\"`, `k="\`, `null`, "\x00", "é=é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseArguments(text)
		if err == nil && (!json.Valid(p.Args) || p.Kwargs != nil && !json.Valid(p.Kwargs)) {
			t.Errorf("%q became %s", text, p.JSON())
		}
	})
}

func FuzzOutgoing(f *testing.F) {
	for _, seed := range []string{"a\r\nQUIT", "\x01DCC\x01", "\xff\xfe", ":x", "", "é\u0301"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, to, text string) {
		if validTarget(to, defaultChanTypes) != nil {
			return
		}
		for _, l := range lines(text) {
			for _, piece := range split(l, 200) {
				b, err := buildLine(nil, "PRIVMSG", to, piece)
				if err != nil || len(b) > 480 || strings.ContainsAny(string(b), "\r\n\x00\x01") {
					t.Errorf("line %q (%v)", b, err)
				}
				if head, _, _ := strings.Cut(string(b), " :"); head != "PRIVMSG "+to {
					t.Errorf("line %q", b)
				}
			}
		}
	})
}
