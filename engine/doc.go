// Package engine owes things to endpoints: the deliveries of events, and the
// outcomes of asynchronous calls. It also keeps who is subscribed and registered,
// idempotency keys and dead letters. All of it is in NATS JetStream (package
// internal/store), embedded in the process or on a server elsewhere, so that it
// survives the process; see docs/decisions/0005 for the reasons behind the design.
//
// # What goes where
//
// An event that is owed to some endpoints is one entry in a pack: one message in
// the log of a lane, written by an appender, with as many events in it as have come
// while the message before was written (append.go). When it is stored, Deliver
// returns.
//
// One goroutine (shift.run, lane.go) owns each lane. It reads the log, hands each
// delivery to its endpoint, starts attempts within the endpoint's limits
// (attempt.go), and notes what is settled (window.go). Ten times a second it writes
// down how far it is (checkpoint.go); that is the only thing that settling costs.
//
// What leaves the happy path gets a place of its own:
//   - a delivery whose attempt failed has a message with the time of the next one
//     (later.go), and so has the outcome of a call (calls.go);
//   - an endpoint that is slow or parked has a backlog: packs with its deliveries
//     alone, in order, read when it can take them (backlog.go);
//   - a delivery that has used up its attempts is a dead letter (dead.go).
//
// A delivery is written to its new place before it is settled in the old one: after
// the death of the process it may be in both, so it can be delivered twice, under
// the same ID, but never not at all.
package engine
