// Package irc is the backend for IRC: channels and private messages are topics, and
// words like !weather in a chat call procedures.
//
// It follows RFC 1459 and 2812 as https://modern.ircdocs.horse describes their use
// today, and IRCv3 where the server offers it: capability negotiation 302, SASL,
// message-tags, server-time, account-tag, echo-message, batch, labeled-response and
// chghost.
//
// One goroutine per connection reads, one writes; both belong to the session, which
// connects again when the connection is lost. All state stands under one mutex, under
// which nothing waits for the network.
package irc
