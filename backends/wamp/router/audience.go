package router

import (
	"slices"

	nexus "github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
)

// audience says who may receive an event (WAMP specification, "Subscriber Black- and
// Whitelisting"). A whitelist that is there and empty admits nobody.
type audience struct {
	lists []roster
}

type roster struct {
	of       attribute
	eligible bool // a whitelist
	ids      []wamp.ID
	texts    []string
}

type attribute uint8

const (
	bySession attribute = iota
	byAuthID
	byAuthRole
)

// audienceOf reads checked PUBLISH options; nil admits everybody.
func audienceOf(options wamp.Dict) *audience {
	if len(options) == 0 {
		return nil
	}
	var lists []roster
	for _, l := range [...]struct {
		name string
		list roster
	}{
		{wamp.BlacklistKey, roster{of: bySession}},
		{wamp.WhitelistKey, roster{of: bySession, eligible: true}},
		{"exclude_authid", roster{of: byAuthID}},
		{"eligible_authid", roster{of: byAuthID, eligible: true}},
		{"exclude_authrole", roster{of: byAuthRole}},
		{"eligible_authrole", roster{of: byAuthRole, eligible: true}},
	} {
		v, given := options[l.name]
		values, ok := wamp.AsList(v)
		if !given || !ok {
			continue
		}
		for _, v := range values {
			if l.list.of == bySession {
				id, _ := wholeNumber(v)
				l.list.ids = append(l.list.ids, wamp.ID(id))
			} else if s, ok := v.(string); ok {
				l.list.texts = append(l.list.texts, s)
			}
		}
		lists = append(lists, l.list)
	}
	if lists == nil {
		return nil
	}
	return &audience{lists: lists}
}

// admits reports whether a session may receive the event.
func (a *audience) admits(id wamp.ID, authid, authrole string) bool {
	if a == nil {
		return true
	}
	for _, l := range a.lists {
		var in bool
		switch l.of {
		case bySession:
			in = slices.Contains(l.ids, id)
		case byAuthID:
			in = slices.Contains(l.texts, authid)
		case byAuthRole:
			in = slices.Contains(l.texts, authrole)
		}
		if in != l.eligible {
			return false
		}
	}
	return true
}

// Allowed makes an audience nexus' filter.
func (a *audience) Allowed(s *wamp.Session) bool {
	authid, _ := s.Details["authid"].(string)
	authrole, _ := s.Details["authrole"].(string)
	return a.admits(s.ID, authid, authrole)
}

// publishFilter is nexus' FilterFactory.
func publishFilter(m *wamp.Publish) nexus.PublishFilter {
	if a := audienceOf(m.Options); a != nil {
		return a
	}
	return nil
}
