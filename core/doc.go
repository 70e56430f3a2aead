// Package core is the routing model of anybridge: addresses and patterns, events,
// calls, results and errors, the Backend interface that every message system
// implements, and the Bridge that owns the tables of registrations and
// subscriptions and connects frontends with backends.
//
// It imports the standard library only. Payload values are raw JSON from end to
// end, so that integers beyond 2^53, key order and unknown shapes cross unharmed;
// a value is decoded only where a protocol forces it.
package core
