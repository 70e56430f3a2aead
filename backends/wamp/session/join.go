package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/core"
)

// Target is which router, which realm, and as whom.
type Target struct {
	Connect Connect
	Realm   string
	Auth    Auth
}

// roles is what the session can do (WAMP specification, "Client: Role and Feature
// Announcement"). Registration revocation is not among it, because the revocation
// does not get through our decoder; progressive results are never asked for, but
// some dealers want to see the feature beside call canceling.
func roles() wamp.Dict {
	features := func(names ...string) wamp.Dict {
		d := wamp.Dict{}
		for _, n := range names {
			d[n] = true
		}
		return wamp.Dict{"features": d}
	}
	return wamp.Dict{
		"publisher": features("publisher_identification", "publisher_exclusion", "subscriber_blackwhite_listing",
			"event_retention"),
		"subscriber": features("publisher_identification", "pattern_based_subscription", "event_retention"),
		"caller":     features("caller_identification", "call_timeout", "call_canceling", "progressive_call_results"),
		"callee": features("caller_identification", "call_timeout", "call_canceling", "progressive_call_results",
			"pattern_based_registration", "shared_registration"),
	}
}

// join opens a link and the session on it.
func join(ctx context.Context, t Target) (Link, *wamp.Welcome, error) {
	details := wamp.Dict{"agent": "anybridge", "roles": roles()}
	t.Auth.details(details)
	link, err := t.Connect(ctx, &wamp.Hello{Realm: wamp.URI(t.Realm), Details: details})
	if err != nil {
		return nil, nil, unreachable(err)
	}
	welcome, err := handshake(ctx, link, t)
	if err != nil {
		_ = link.Close()
		return nil, nil, err
	}
	return link, welcome, nil
}

// handshake takes the session from HELLO to WELCOME.
func handshake(ctx context.Context, link Link, t Target) (*wamp.Welcome, error) {
	for {
		batch, err := link.Receive(ctx)
		if err != nil {
			if errors.Is(err, io.EOF) {
				// nexus does this to some of those that it refuses
				err = errors.New("the router closed the connection without an answer; it may have refused the credentials")
			}
			return nil, unreachable(fmt.Errorf("join realm %q: %w", t.Realm, err))
		}
		for i, msg := range batch {
			switch m := msg.(type) {
			case *wamp.Challenge:
				answer, err := t.Auth.answer(m)
				if err != nil {
					_ = link.Send(ctx, &wamp.Abort{Reason: "wamp.error.authentication_failed", Details: wamp.Dict{}})
					return nil, core.Errorf(core.Unauthenticated, "join realm %q: %w", t.Realm, err)
				}
				if err := link.Send(ctx, answer); err != nil {
					return nil, unreachable(err)
				}
			case *wamp.Welcome:
				if i != len(batch)-1 {
					return nil, unreachable(errors.New("the router sent messages together with its WELCOME"))
				}
				return m, nil
			case *wamp.Abort:
				return nil, aborted(m, t)
			default:
				return nil, unreachable(fmt.Errorf("join realm %q: %s instead of WELCOME", t.Realm, msg.MessageType()))
			}
		}
	}
}

func unreachable(err error) error {
	if e, ok := errors.AsType[*core.Error](err); ok {
		return e
	}
	return core.Errorf(core.Unavailable, "%w", err)
}

// aborted says why the router did not let us in. What the router tells is kept,
// unless it repeats a secret.
func aborted(m *wamp.Abort, t Target) error {
	code, why := core.Unavailable, "the router refused the session"
	switch m.Reason {
	case "wamp.error.no_such_realm":
		code, why = core.NotFound, "the router has no such realm"
	case "wamp.error.authentication_failed", "wamp.error.no_such_principal", "wamp.error.no_such_role",
		"wamp.error.authentication_denied", "wamp.error.authentication_rejected", "wamp.error.not_auth_method":
		code, why = core.Unauthenticated, "authentication failed ("+t.Auth.String()+")"
	case "wamp.error.no_auth_method", "wamp.error.no_matching_auth_method":
		code, why = core.Unauthenticated, "the router does not offer the method "+t.Auth.method()
	case "wamp.error.not_authorized", "wamp.error.authorization_failed", "wamp.error.authorization_denied":
		code, why = core.Forbidden, t.Auth.String()+" may not join"
	case "wamp.close.system_shutdown", "wamp.error.system_shutdown":
		why = "the router is shutting down"
	}
	e := core.Errorf(code, "join realm %q: %s", t.Realm, why)
	e.URI = string(m.Reason)
	if text, _ := wamp.AsString(m.Details["message"]); text != "" {
		e.Message += ": " + t.Auth.redact(clip(text))
	}
	return e
}

// redact takes the secrets out of a text that came from the router.
func (a Auth) redact(text string) string {
	for _, secret := range []core.Secret{a.Ticket, a.Secret} {
		if len(secret) > 0 {
			text = strings.ReplaceAll(text, string(secret), "[secret]")
		}
	}
	return text
}

// maxMessage bounds how much of somebody else's text stands in our errors.
const maxMessage = 500

func clip(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + "…"
}
