package core

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"time"
)

// Endpoint is an HTTP callback URL with its options.
type Endpoint struct {
	URL     string
	Timeout time.Duration // of one attempt; 0 = the operator's default
	// Keys sign what is sent to it (Standard Webhooks 1.0): one, or two while one
	// replaces the other, the current one first.
	Keys []Secret

	// For subscriptions only:
	Ordered     bool            // one at a time, in order, later ones wait behind a failing one
	Concurrency int             // attempts at once; 0 = the default
	Rate        float64         // attempts per second; 0 = no limit
	Retry       []time.Duration // delays between attempts; nil = the default schedule
}

// Secret is a value that must not be shown: it prints and marshals as "[secret]".
type Secret []byte

func (Secret) String() string { return "[secret]" }

// GoString keeps %#v from showing it.
func (Secret) GoString() string { return "[secret]" }

// LogValue keeps slog from showing it.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText keeps encoders from showing it.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Subscription ties an endpoint to a topic pattern. It is immutable; changing one
// means replacing it.
type Subscription struct {
	Owner    string // the name of the token that asked for it
	Pattern  Pattern
	Endpoint Endpoint
	// ExcludeMe leaves out events that the owner itself published.
	ExcludeMe bool
	Created   time.Time
	// Volatile keeps it out of the Registry: it is made anew at each start.
	Volatile bool
}

// ID is the same for the same owner and pattern, also after a restart.
func (s *Subscription) ID() string { return bindingID("sub", s.Owner, s.Pattern) }

// Registration ties an endpoint to a procedure pattern. It is immutable.
type Registration struct {
	Owner    string
	Pattern  Pattern
	Endpoint Endpoint
	Invoke   string // invocation policy; "" is "single"
	Created  time.Time
	// Volatile keeps it out of the Registry: it is made anew at each start.
	Volatile bool
}

// ID is the same for the same owner and pattern, also after a restart.
func (r *Registration) ID() string { return bindingID("reg", r.Owner, r.Pattern) }

func bindingID(kind, owner string, p Pattern) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + owner + "\x00" + string(p.Match) + "\x00" + p.Address.String()))
	return kind + "_" + hex.EncodeToString(sum[:10])
}
