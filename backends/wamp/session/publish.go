package session

import (
	"context"
	"strconv"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
)

// Publish publishes an event and waits for the router's acknowledgement. It sets e.ID
// to the publication's id, the same that EVENTs carry, and e.Withheld when the options
// keep the event from this session. The router leaves the publisher's own session out
// of an event's receivers (WAMP specification, "Publisher Exclusion"), so the event
// does not come back to Subscribe's streams.
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
	if err := checkDepth(e.Payload); err != nil {
		return err
	}
	payload := newPayload(e.Payload)
	if err := c.prepare(payload); err != nil {
		return err
	}
	options := publishOptions(e.Options)
	msg, err := c.do(ctx, &request{build: func(id wamp.ID) wamp.Message {
		return &wamp.Publish{Request: id, Options: options, Topic: wamp.URI(e.Topic.Name), Arguments: wire.Opaque(payload)}
	}})
	if err != nil {
		return err
	}
	m, ok := msg.(*wamp.Published)
	if !ok {
		return unexpectedAnswer("PUBLISH", msg)
	}
	s.count.published.Add(1)
	e.ID = formatID(m.Publication)
	e.Withheld = c.withheld(e.Options)
	return nil
}

// publishOptions are PUBLISH.Options (WAMP specification, "Subscriber Black- and
// Whitelisting", "Publisher Exclusion", "Event Retention").
func publishOptions(o core.PublishOptions) wamp.Dict {
	options := wamp.Dict{"acknowledge": true, "exclude_me": true}
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
