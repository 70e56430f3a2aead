package core

import "strings"

// RouteOwner begins the owner of a subscription or registration that a route of the
// bridge holds, and not a token: no token's name has a colon.
const RouteOwner = "route:"

// IsRoute reports whether a binding with that owner belongs to a route.
func IsRoute(owner string) bool { return strings.HasPrefix(owner, RouteOwner) }
