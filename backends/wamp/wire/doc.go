// Package wire is the WAMP v2 message codec: it reads frames in JSON, MessagePack
// and CBOR into the message types of gammazero/nexus and writes them back.
//
// The application payload (args and kwargs) is never decoded on the way. It stays
// the bytes its sender wrote, inside a [Payload], and is rewritten straight from
// bytes to bytes only when a receiver speaks another serialisation, at most once
// for each. [Convert] documents what each value becomes.
//
// The source is the WAMP specification (draft-oberstet-hybi-crossbario-wamp):
// "Messages", "Serializations", "Identifiers" and "Binary conversion of JSON
// Strings", with the advanced profile's CHALLENGE, AUTHENTICATE, CANCEL, INTERRUPT
// and revocations.
package wire
