// Package session is anybridge's own WAMP client session (WAMP specification,
// draft-oberstet-hybi-crossbario-wamp): it joins a realm on any router, over a
// WebSocket, a RawSocket or inside the process, and publishes, subscribes, calls
// and registers there in terms of package core.
//
// A [Session] outlives its connections. When one is lost, everything that waits
// for an answer fails at once with core.Unavailable, and the session dials again
// with growing pauses, joins, and restores its subscriptions and registrations.
// Their streams go on as if nothing had happened.
//
// One goroutine per connection reads what arrives and never waits for anybody:
// events and invocations go into bounded queues, one per stream, answers to those
// who wait for them. A stream whose consumer is too slow loses events, which is
// counted and logged; it never slows down the session.
package session
