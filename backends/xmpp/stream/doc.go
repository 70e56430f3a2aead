// Package stream keeps one XMPP client stream alive: it connects (RFC 6120), secures and
// authenticates it, bounds what comes in, acknowledges stanzas in both directions and
// resumes after a lost connection (XEP-0198), and starts afresh where that is not
// possible. What the stanzas mean is not its business.
//
// Addresses are mellium's (PRECIS); stream, SASL and stream management are written here,
// because each step on the way must cost a bounded amount whatever the other side sends,
// and because a stream is resumed at the place where a resource is bound otherwise.
package stream
