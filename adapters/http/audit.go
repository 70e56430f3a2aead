package rest

import (
	"net/url"
	"time"

	"github.com/anybridge/anybridge/core"
)

// AuditEntry is one line of the audit log: who did, or tried, what. It holds no
// secret.
type AuditEntry struct {
	Time    time.Time `json:"time"`
	Token   string    `json:"token,omitempty"`    // its name; empty: nobody's, as of a signal
	TokenID string    `json:"token_id,omitempty"` // of one that the bridge made
	Remote  string    `json:"remote,omitempty"`   // the address of the client, or of the proxy before it

	// Action is what was asked for: a verb of the scopes, "unregister",
	// "unsubscribe", "replay", "discard", "reload", "admin", "authenticate", or what the bridge did by
	// itself: "gone" (the endpoint answered 410) and "revoked" (the token no longer
	// allows it).
	Action  string     `json:"action"`
	Address string     `json:"address,omitempty"` // backend:name
	Match   core.Match `json:"match,omitempty"`
	URL     string     `json:"url,omitempty"` // without user, query and fragment

	Outcome string `json:"outcome"`         // "ok", or the code of the error
	Count   int64  `json:"count,omitempty"` // of the same kind since the last such line, if not 1
}

// NewAuditEntry begins an entry about a pattern, or about none.
func NewAuditEntry(token, action string, p core.Pattern, endpoint string, err error) AuditEntry {
	e := AuditEntry{Time: time.Now().UTC(), Token: token, Action: action, Match: p.Match, URL: bareURL(endpoint), Outcome: "ok"}
	if p.Address != (core.Address{}) {
		e.Address = p.Address.String()
	}
	if err != nil {
		e.Outcome = string(core.CodeOf(err))
	}
	return e
}

// bareURL is a URL without the parts where apps keep secrets.
func bareURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	return u.String()
}

// entry begins an entry about this request.
func (x *exchange) entry(action string, p core.Pattern, endpoint string, err error) AuditEntry {
	e := NewAuditEntry(x.owner(), action, p, endpoint, err)
	e.Remote = remoteHost(x.r.RemoteAddr)
	if core.CheckTokenText(x.text) {
		e.TokenID = core.TokenID(x.text)
	}
	return e
}

// audit writes what became of a request. It returns when that is on its way to the
// disk, so that no client has an answer about something that left no trace.
func (x *exchange) audit(action string, patterns []core.Pattern, endpoint func(i int) string, err error) {
	if x.f.o.Audit == nil {
		return
	}
	entries := make([]AuditEntry, len(patterns))
	for i, p := range patterns {
		entries[i] = x.entry(action, p, endpoint(i), err)
	}
	x.f.o.Audit(entries...)
}

// auditOne writes one line about the request.
func (x *exchange) auditOne(action string, err error) {
	if x.f.o.Audit != nil {
		x.f.o.Audit(x.entry(action, core.Pattern{}, "", err))
	}
}

// auditMany writes one line about a request that did count things.
func (x *exchange) auditMany(action string, count int64) {
	if x.f.o.Audit != nil {
		e := x.entry(action, core.Pattern{}, "", nil)
		e.Count = several(count)
		x.f.o.Audit(e)
	}
}

// refused writes that a token was not allowed something: a hundred lines at once,
// and one a second, which tell how many there were.
func (x *exchange) refused(action string, p core.Pattern, endpoint string, err error) {
	if x.f.o.Audit == nil {
		return
	}
	gate := x.tokenGate
	gate.refused.Add(1)
	if _, _, ok := gate.told.take(x.f.clock(), pacing{time.Second, 100}); !ok {
		return
	}
	e := x.entry(action, p, endpoint, err)
	e.Count = several(gate.refused.Swap(0))
	x.f.o.Audit(e)
}

// unknown writes that somebody presented a wrong token.
func (x *exchange) unknown(s *guessSlot, err error) {
	if x.f.o.Audit == nil {
		return
	}
	count, ok := x.f.guesses.tell(s, x.f.clock())
	if !ok {
		return
	}
	e := NewAuditEntry("", "authenticate", core.Pattern{}, "", err)
	e.Remote, e.Count = remoteHost(x.r.RemoteAddr), several(count)
	x.f.o.Audit(e)
}

// several is a count that says more than that there is something.
func several(n int64) int64 {
	if n <= 1 {
		return 0
	}
	return n
}
