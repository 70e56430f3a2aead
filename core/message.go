package core

import (
	"encoding/json"
	"time"
)

// Event is one message published to a topic.
//
// On its way out a frontend fills in Topic, Payload, Origin, ExcludeMe and Options,
// and the backend ID and Withheld. On its way in a backend fills in ID, Topic (the
// concrete one, also under a pattern), Payload, Time and Details. Events are
// immutable once they are handed over.
type Event struct {
	// ID is unique among the backend's events. A backend's Publish sets it to the
	// id under which subscribers see the event, where the system has such a thing;
	// otherwise the bridge's own id stays.
	ID    string
	Topic Address
	Payload
	Time time.Time
	// Details is a JSON object of what the system tells about the event: who
	// published it, whether it was retained, and so on. Nil for nothing.
	Details json.RawMessage

	// Origin is who published the event, within this bridge; ExcludeMe asks not to
	// deliver it to subscriptions with that Owner. Backends are not told.
	Origin    string
	ExcludeMe bool

	// Via is the route that carries the event, or "". What a route has carried is not
	// routed again. Backends take it along where their system has a place for it that
	// people do not see, so that another bridge knows too.
	Via string

	Options PublishOptions
	// Withheld is what a backend's Publish says of Options: they keep the event from
	// the bridge's own session with the system, so the bridge must not deliver it to
	// its endpoints either.
	Withheld bool

	// Gap, if it is not nil, says that this is no event but a place in the stream where
	// events may be missing. Only a backend makes one.
	Gap *Gap
}

// Gap is a time in which a subscription could not hear.
type Gap struct {
	Since, Until time.Time
	Lost         int64  // how many events are missing; 0 if that is not known
	Reason       string // for people
}

// PublishOptions are WAMP's publish options; a backend that lacks one ignores it
// unless Capabilities says otherwise. Session ids are those of the backend.
type PublishOptions struct {
	Retain           bool     `json:"retain,omitempty"`
	Exclude          []uint64 `json:"exclude,omitempty"`
	ExcludeAuthID    []string `json:"exclude_authid,omitempty"`
	ExcludeAuthRole  []string `json:"exclude_authrole,omitempty"`
	Eligible         []uint64 `json:"eligible,omitempty"`
	EligibleAuthID   []string `json:"eligible_authid,omitempty"`
	EligibleAuthRole []string `json:"eligible_authrole,omitempty"`
}

// Zero reports whether no option is set.
func (o PublishOptions) Zero() bool {
	return !o.Retain && o.Exclude == nil && o.ExcludeAuthID == nil && o.ExcludeAuthRole == nil &&
		o.Eligible == nil && o.EligibleAuthID == nil && o.EligibleAuthRole == nil
}

// Call asks a procedure for a result. The deadline and the cancellation are those
// of the context it is made with.
type Call struct {
	Procedure Address
	Payload
	// Caller is who calls through a frontend. The bridge's own calls have none.
	Caller Caller
}

// Caller is what a frontend knows of who calls. Backends pass it on where they can:
// to the bridge's own registrations as caller_token and caller_user in
// Invocation.Details.
type Caller struct {
	Token string // the token's name, or ""
	User  string // on whose behalf the token's app calls, as it says; or ""
}

// Details is what an Invocation tells of the caller, or nil for nothing.
func (c Caller) Details() json.RawMessage {
	if c == (Caller{}) {
		return nil
	}
	text, err := json.Marshal(struct {
		Token string `json:"caller_token,omitempty"`
		User  string `json:"caller_user,omitempty"`
	}{c.Token, c.User})
	if err != nil { // strings always have a JSON
		panic(err)
	}
	return text
}

// Result is what a procedure returned.
type Result struct {
	Payload
	Details json.RawMessage // a JSON object, or nil
}

// Invocation is a call that came in for a procedure which the bridge registered.
// Whoever receives it answers exactly once with Reply.
type Invocation struct {
	ID        string
	Procedure Address // the concrete procedure called, also under a pattern
	Payload
	Details json.RawMessage // a JSON object of who called and how, or nil
	Timeout time.Duration   // what the caller allows, or 0

	// Canceled is closed when nobody waits for the answer any more. It may be nil.
	Canceled <-chan struct{}
	// Reply sends the answer: a result, or an error. It does not block on the
	// network, may be called from any goroutine, and ignores every call after the
	// first.
	Reply func(*Result, error)
}
