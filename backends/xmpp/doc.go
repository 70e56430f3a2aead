// Package xmpp is the XMPP backend: a client's session on somebody's server. Rooms
// (XEP-0045), chats and PubSub nodes (XEP-0060) are topics; ad-hoc commands (XEP-0050)
// are procedures, in both directions. The session itself, with its reconnecting and
// stream management, is in package stream.
//
// Every topic and every room belongs to the running backend, and its state is guarded by
// that one's mutex; what comes in is handled in order by the stream's reader, which never
// waits for anything.
package xmpp
