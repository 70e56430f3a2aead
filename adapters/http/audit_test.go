package rest

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/anybridge/anybridge/core"
)

// auditBuffer keeps the entries as lines.
type auditBuffer struct {
	mu    sync.Mutex
	lines []string
}

func (b *auditBuffer) write(entries ...AuditEntry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range entries {
		line := strings.TrimSpace(e.Token + " " + e.Action + " " + e.Address + " " + string(e.Match))
		if e.URL != "" {
			line += " " + e.URL
		}
		line += " " + e.Outcome
		if e.Count > 0 {
			line += " (several)"
		}
		b.lines = append(b.lines, line)
		if e.Remote != "127.0.0.1" || e.Time.IsZero() {
			b.lines = append(b.lines, "no remote address, or no time")
		}
	}
}

func (b *auditBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := strings.Join(b.lines, "\n")
	b.lines = nil
	return text
}

func TestAudit(t *testing.T) {
	var log auditBuffer
	f := newFixture(t, setup{reload: func(context.Context) error { return core.Errorf(core.InvalidArgument, "line 3") }})
	f.front.o.Audit = log.write
	for _, step := range []struct {
		token, method, path, body string
		want                      string
	}{
		{shopToken, "POST", "/register/", `{"endpoints": {"com.shop.p": "http://127.0.0.1:1/hook?key=hidden"}}`, "shop register wamp:com.shop.p exact http://127.0.0.1:1/hook ok"},
		{shopToken, "POST", "/subscribe/", `{"endpoints": {"com.shop": {"url": "http://127.0.0.1:1/", "match": "prefix"}, "b": "http://127.0.0.1:1/"}}`,
			"shop subscribe wamp:com.shop prefix http://127.0.0.1:1/ ok\nshop subscribe wamp:b exact http://127.0.0.1:1/ ok"},
		{shopToken, "POST", "/unsubscribe/", `{"endpoints": ["b", "never"]}`, "shop unsubscribe wamp:b exact ok"},
		{shopToken, "POST", "/register/", `{"endpoints": {"down:p": "http://127.0.0.1:1/"}}`, "shop register down:p exact http://127.0.0.1:1/ unavailable"},
		{shopToken, "POST", "/unregister/", `{"endpoints": ["com.shop.p"]}`, "shop unregister wamp:com.shop.p exact ok"},
		{shopToken, "POST", "/register/", `{"endpoints": {"p": "http://10.0.0.1/admin?key=hidden"}}`, "shop register wamp:p exact http://10.0.0.1/admin callback_not_allowed"},
		{shopToken, "POST", "/reload/", ``, "shop reload   invalid_argument"},
		{mobileToken, "POST", "/register/", `{"endpoints": {"com.shop.p": "http://127.0.0.1:1/"}}`, "mobile register wamp:com.shop.p exact forbidden"},
		{mobileToken, "POST", "/publish/secret.topic/", ``, "mobile publish wamp:secret.topic  forbidden"},
		{mobileToken, "GET", "/status/", ``, "mobile admin   forbidden"},
		{"wrong", "GET", "/register/", ``, "authenticate   unauthenticated"},
		{shopToken, "POST", "/call/com.shop.add2/", `{"args": [2, 3]}`, ""},
		{shopToken, "GET", "/register/", ``, ""},
	} {
		f.as(step.token, step.method, step.path, step.body)
		if got := log.take(); squeeze(got) != squeeze(step.want) {
			t.Errorf("%s %s:\ngot  %s\nwant %s", step.method, step.path, got, step.want)
		}
	}
}

func squeeze(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return strings.Join(lines, "\n")
}

// Who knocks all the time does not fill the log.
func TestAuditOfRefusalsIsBounded(t *testing.T) {
	var log auditBuffer
	f := newFixture(t, setup{})
	f.front.o.Audit = log.write
	for range 300 {
		f.from("127.0.0.1:1", "wrong")
		f.as(mobileToken, "GET", "/status/", "")
	}
	text := log.take()
	if n := strings.Count(text, "unauthenticated"); n != 1 {
		t.Errorf("%d lines of wrong tokens", n)
	}
	if n := strings.Count(text, "admin"); n < 100 || n > 150 {
		t.Errorf("%d lines of what the token may not", n)
	}
}

func TestAuditNamesTokensByTheirID(t *testing.T) {
	var got []AuditEntry
	f := newFixture(t, setup{})
	f.front.o.Audit = func(entries ...AuditEntry) { got = append(got, entries...) }
	text := core.NewTokenText()
	f.setTokens(map[string][]string{text: {"*"}})
	f.as(text, "POST", "/register/", `{"endpoints": {"p": "http://127.0.0.1:1/"}}`)
	if len(got) != 1 || got[0].TokenID != core.TokenID(text) || len(got[0].TokenID) != 8 {
		t.Errorf("got %+v", got)
	}
}

// A token that loses a scope while its registration is under way keeps what it may.
func TestRestrictedWhileRegistering(t *testing.T) {
	var log auditBuffer
	f := newFixture(t, setup{})
	f.front.o.Audit = log.write
	load := f.front.o.Tokens
	asked := 0
	f.front.o.Tokens = func() *core.Tokens {
		if asked++; asked == 2 {
			f.setTokens(map[string][]string{shopToken: {"register:com.mine.*"}})
		}
		return load()
	}
	status, body := f.do("POST", "/register/", `{"endpoints": {"com.mine.p": "http://127.0.0.1:1/", "com.theirs.p": "http://127.0.0.1:1/"}}`)
	if status != 403 || !strings.Contains(body, "register:com.theirs.p") {
		t.Errorf("got %d %s", status, body)
	}
	left := f.bridge.Registrations("")
	if len(left) != 1 || left[0].Pattern.Name != "com.mine.p" {
		t.Errorf("left: %v", left)
	}
	if text := log.take(); !strings.Contains(text, "shop revoked wamp:com.theirs.p exact ok") {
		t.Errorf("the audit log has\n%s", text)
	}
}

func TestBareURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://u:pw@shop.example:8443/a%2Fb?key=hidden#part": "https://shop.example:8443/a%2Fb",
		"http://shop.example/?":                                "http://shop.example/",
		"://":                                                  "",
		"":                                                     "",
	} {
		if got := bareURL(raw); got != want {
			t.Errorf("%s: got %s", raw, got)
		}
	}
}
