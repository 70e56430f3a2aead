package stream

import (
	"crypto/tls"
	"log/slog"
	"time"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/core"
)

// TLSMode says how a connection is secured.
type TLSMode string

// The modes.
const (
	StartTLS  TLSMode = "starttls" // on the usual port, before anything else is said; never without
	DirectTLS TLSMode = "direct"   // from the first byte (XEP-0368)
	NoTLS     TLSMode = "none"     // only to loopback addresses
)

// Options are what a Client needs. All are required but Server and TLS.
type Options struct {
	JID      jid.JID // with or without a resource
	Password core.Secret
	Server   string // host:port, or "" for what the domain's DNS says
	Mode     TLSMode
	TLS      *tls.Config // ServerName is the JID's domain if it is empty

	MaxSend    int           // bytes of one stanza
	MaxReceive int           // bytes of one stanza
	MaxQueue   int           // stanzas that wait to be sent or acknowledged
	Keepalive  time.Duration // a connection that is silent for so long is asked; for twice as long it is given up
	Log        *slog.Logger

	// OnFresh is called when a new session with the server has begun: nothing of an
	// earlier one is left. Nothing that came in before is still on its way to OnStanza.
	OnFresh func()
	// OnResumed is called when the earlier session goes on.
	OnResumed func()
	// OnLost is called when the connection is lost.
	OnLost func()
	// OnStanza takes each stanza that is not the answer to a request of ours. None of
	// these may block, and only one runs at a time.
	OnStanza func(*Element)
}

const (
	dialPatience  = 30 * time.Second // until a session is there
	writePatience = 20 * time.Second // for one write
	// resumePatience is how long those who wait for an acknowledgement are kept waiting
	// for a lost connection to be resumed.
	resumePatience = 5 * time.Second
	maxQueueBytes  = 16 << 20
)
