package session

import (
	"slices"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/core"
)

// withheld reports whether the options keep an event from a subscriber who is what
// this session is (WAMP specification, "Subscriber Black- and Whitelisting"): one of
// the blacklists names it, or one of the whitelists that are there does not.
func (c *conn) withheld(o core.PublishOptions) bool {
	if o.Zero() {
		return false
	}
	id := uint64(c.id)
	authid, _ := wamp.AsString(c.details["authid"])
	authrole, _ := wamp.AsString(c.details["authrole"])
	return slices.Contains(o.Exclude, id) || !eligible(o.Eligible, id) ||
		slices.Contains(o.ExcludeAuthID, authid) || !eligible(o.EligibleAuthID, authid) ||
		slices.Contains(o.ExcludeAuthRole, authrole) || !eligible(o.EligibleAuthRole, authrole)
}

// eligible reports whether a whitelist admits who; without one, everybody is.
func eligible[T comparable](list []T, who T) bool {
	return list == nil || slices.Contains(list, who)
}
