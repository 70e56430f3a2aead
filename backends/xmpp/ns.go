package xmpp

// Namespaces, with the XEPs that define them.
const (
	nsClient   = "jabber:client"
	nsStanzas  = "urn:ietf:params:xml:ns:xmpp-stanzas" // RFC 6120
	nsPing     = "urn:xmpp:ping"                       // XEP-0199
	nsInfo     = "http://jabber.org/protocol/disco#info"
	nsItems    = "http://jabber.org/protocol/disco#items"
	nsMUC      = "http://jabber.org/protocol/muc" // XEP-0045
	nsMUCUser  = "http://jabber.org/protocol/muc#user"
	nsMUCOwner = "http://jabber.org/protocol/muc#owner"
	nsPubSub   = "http://jabber.org/protocol/pubsub" // XEP-0060
	nsEvent    = "http://jabber.org/protocol/pubsub#event"
	nsPSErrors = "http://jabber.org/protocol/pubsub#errors"
	nsCommands = "http://jabber.org/protocol/commands" // XEP-0050
	nsForm     = "jabber:x:data"                       // XEP-0004
	nsReceipts = "urn:xmpp:receipts"                   // XEP-0184
	nsDelay    = "urn:xmpp:delay"                      // XEP-0203
	nsReplace  = "urn:xmpp:message-correct:0"          // XEP-0308
	nsJSON     = "urn:xmpp:json:0"                     // XEP-0335
	nsStanzaID = "urn:xmpp:sid:0"                      // XEP-0359
	nsOurs     = "urn:anybridge:0"                     // what only other bridges read
)
