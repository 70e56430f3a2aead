// Package router is the WAMP router inside anybridge. Routing itself (broker,
// dealer, realms) is done by github.com/gammazero/nexus/v3; everything around it
// is here: the listener for WebSocket and RawSocket on one port, authentication,
// authorisation, a sanitiser for whatever clients send, an outgoing queue per
// session that loses nothing silently, retained events, and an orderly shutdown.
//
// # How a session hangs together
//
// A [session] is nexus' wamp.Peer. Its reader goroutine decodes messages, has them
// checked ([sanitise] for what can be said about a message alone, admit for what
// depends on the session) and hands them to nexus. What nexus sends lands in the
// session's [mailbox]; its writer goroutine encodes it and writes many messages at
// once. nexus drops messages when the channel it sends on is full; the mailbox
// empties that channel before it can be.
//
// A session has two ends. finish is the graceful one: last messages are written,
// then the transport is closed. fail is the abrupt one, for peers that do not read
// or do not speak WAMP.
//
// # What is kept from nexus
//
// nexus can be crashed by messages it does not expect, leaks call timers into
// closed realms, and forgets registrations made twice. So nexus never sees a
// payload passthru option, a CALL timeout that it would have to time itself, a
// second REGISTER for the same procedure from one session, or a realm to be closed
// while sessions are in it.
package router
