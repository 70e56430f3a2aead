// Package routes carries events from one address to others, and offers procedures of
// one backend on another, as the configuration says.
//
// A route of events is a subscription like any other, held by an owner of its own
// (core.RouteOwner): a durable one has a place in the engine, which delivers to it as
// to an endpoint; the others have a bounded queue in memory. A route of procedures is
// a registration.
//
// # No loops
//
// What a route has carried is never carried by a route again (core.Event.Via), and no
// backend brings back what the bridge published itself. So with any routes between any
// backends of one bridge, an event arrives at most once at each target of the routes
// that begin where it was published. Two things can still go round: what comes back
// through another backend of the same kind, if both are connected to one system that
// cannot carry Via: brake.go bounds that; and what another program carries back.
package routes
