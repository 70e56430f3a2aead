// Package kit is what every backend needs and none should write again. It is for
// backends inside and outside of anybridge alike, stands on core and the standard
// library alone, and each of its types can be used without most of the others:
//
//   - Decode reads a section of the configuration strictly, Mistakes collects what else
//     is wrong with it, and TLS holds the usual keys of an encrypted connection.
//   - Link keeps a connection: it connects again and again, knows how that goes, and
//     ends what is done on a connection together with it.
//   - Feed is the stream of a subscription, which never makes the connection wait and
//     says what it lost.
//   - Calls is the stream of a registration, in which no caller is left without an
//     answer.
//   - Topics is the table of both, for systems to which one subscribes: it shares what
//     several patterns need, and asks for everything again on a new connection.
//   - Pending are calls whose answers come back with an id.
//   - ReadPayload reads what comes from systems that carry bytes alone.
//
// examples/plugin-mqtt is a whole backend made of them.
package kit
