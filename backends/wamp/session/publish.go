package session

import (
	"context"
	"strconv"
	"strings"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
)

// Publish publishes an event, waits for the router's acknowledgement and sets e.ID
// to the publication's id. The event also comes back to this session's own
// subscriptions, because everybody behind the bridge shares the session; an
// e.Origin comes back with it.
func (s *Session) Publish(ctx context.Context, e *core.Event) error {
	if err := checkName("topic", e.Topic.Name, core.Exact); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return core.AsError(ctx.Err())
	}
	c, err := s.conn()
	if err != nil {
		return err
	}
	payload := newPayload(e.Payload)
	if err := c.prepare(payload); err != nil {
		return err
	}
	r := &request{}
	var claimed *claim
	mark := stamp{origin: e.Origin, excludeMe: e.ExcludeMe}
	switch {
	case e.Origin == "":
	case c.inside:
		if payload == nil {
			payload = wire.NewPayload(wire.JSON, nil, nil)
		}
		payload = payload.WithMark(mark.encode())
	default:
		claimed = c.origins.claim(e.Topic.Name, mark)
		r.accept = func(msg wamp.Message) {
			var id wamp.ID // none: it was refused
			if m, ok := msg.(*wamp.Published); ok {
				id = m.Publication
			}
			c.origins.settle(claimed, id)
		}
	}
	options := publishOptions(e.Options)
	r.build = func(id wamp.ID) wamp.Message {
		return &wamp.Publish{Request: id, Options: options, Topic: wamp.URI(e.Topic.Name), Arguments: wire.Opaque(payload)}
	}
	msg, err := c.do(ctx, r)
	if err != nil {
		if claimed != nil && ctx.Err() == nil {
			c.origins.settle(claimed, 0)
		} // else it may have been sent: the answer settles it, or time does
		return err
	}
	m, ok := msg.(*wamp.Published)
	if !ok {
		return unexpectedAnswer("PUBLISH", msg)
	}
	s.count.published.Add(1)
	e.ID = formatID(m.Publication)
	return nil
}

// publishOptions are PUBLISH.Options (WAMP specification, "Subscriber Black- and
// Whitelisting", "Publisher Exclusion", "Event Retention").
func publishOptions(o core.PublishOptions) wamp.Dict {
	options := wamp.Dict{"acknowledge": true, "exclude_me": false}
	if o.Retain {
		options["retain"] = true
	}
	ids := func(key string, ids []uint64) {
		if ids == nil {
			return
		}
		list := make(wamp.List, len(ids))
		for i, id := range ids {
			list[i] = wamp.ID(id)
		}
		options[key] = list
	}
	texts := func(key string, texts []string) {
		if texts == nil {
			return
		}
		list := make(wamp.List, len(texts))
		for i, t := range texts {
			list[i] = t
		}
		options[key] = list
	}
	ids("exclude", o.Exclude)
	texts("exclude_authid", o.ExcludeAuthID)
	texts("exclude_authrole", o.ExcludeAuthRole)
	ids("eligible", o.Eligible)
	texts("eligible_authid", o.EligibleAuthID)
	texts("eligible_authrole", o.EligibleAuthRole)
	return options
}

func formatID(id wamp.ID) string { return strconv.FormatUint(uint64(id), 10) }

// stamp is what comes back with an event that was published here.
type stamp struct {
	origin    string
	excludeMe bool
}

// encode writes the stamp as the mark of a payload.
func (s stamp) encode() string {
	if s.excludeMe {
		return "x" + s.origin
	}
	return "-" + s.origin
}

// parseStamp reads a mark; without one it is the zero stamp.
func parseStamp(mark string) stamp {
	if mark == "" {
		return stamp{}
	}
	return stamp{origin: mark[1:], excludeMe: strings.HasPrefix(mark, "x")}
}
