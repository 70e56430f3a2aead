package config

import (
	"crypto/x509"
	"encoding/json"
	"net/netip"
	"net/url"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/routes"
)

// What holds where the file says nothing.
const (
	DefaultFile            = "anybridge.yaml"
	DefaultListen          = "127.0.0.1:8181"
	DefaultDataDir         = "anybridge-data"
	DefaultBackend         = "wamp"
	DefaultCallbackTimeout = 15 * time.Second
)

// defaultWAMP is the backend of a file without backends: a router on loopback.
const defaultWAMP = `{"router":{"listen":"127.0.0.1:8080","path":"/ws","realms":["realm1"]}}`

// Config is a whole configuration, valid, with the defaults filled in. It is
// immutable.
type Config struct {
	File           string // the file it was read from, absolute; "" for the defaults
	Listen         string // host:port of the REST frontend
	TLS            *TLS   // nil: plain HTTP
	DataDir        string // absolute
	DefaultBackend string
	Tokens         []Token // in the order of the file; none: the default token counts
	Limits         Limits
	Audit          Audit
	Engine         Engine
	Callbacks      Callbacks
	Backends       []Backend // in the order of the file
	Routes         []*routes.Route

	// Warnings are what is allowed but probably not meant.
	Warnings Errors
}

// TLS names the files of a certificate and its key, absolute.
type TLS struct {
	Cert string
	Key  string
}

// Token is one entry of tokens.
type Token struct {
	core.Token
	// Variable is the environment variable that alone makes up the token's text,
	// or "". People can be told to use it.
	Variable string
}

// Callbacks say where callbacks may go and how.
type Callbacks struct {
	Allow   []netip.Prefix // beyond public addresses
	Timeout time.Duration
	Proxy   *url.URL // nil: none
	// CA are authorities that are trusted beside the system's.
	CA []*x509.Certificate
}

// Backend is one entry of backends: either Kind or Plugin is set.
type Backend struct {
	Name   string
	Kind   string          // a built-in backend
	Plugin string          // the plugin's program, absolute
	SHA256 string          // what the program must hash to, in lower-case hex; "" for anything
	Config json.RawMessage // the backend's own section, a JSON object
}
