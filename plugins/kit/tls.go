package kit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"time"
)

// TLS is the usual part of a configuration: how to check the certificate of a server,
// and a certificate of one's own. The zero value checks it as browsers do.
type TLS struct {
	CA         string `json:"ca"`          // a file of PEM certificates, in place of the system's
	ServerName string `json:"server_name"` // what the certificate must be for; by default the host's name
	Insecure   bool   `json:"insecure"`    // accept any certificate
	Cert       string `json:"cert"`        // files of a client certificate and its key in PEM
	Key        string `json:"key"`
}

// Load reads the files, and notes those that cannot be used as mistakes at the place,
// which is where t stands. The configuration asks for TLS 1.2 at least.
func (t TLS) Load(m *Mistakes, place string) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: t.ServerName,
		InsecureSkipVerify: t.Insecure, //nolint:gosec // the operator asked for it
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		config.RootCAs = x509.NewCertPool()
		if err != nil {
			m.Add(join(place, "ca"), "%w", err)
		} else if !config.RootCAs.AppendCertsFromPEM(pem) {
			m.Add(join(place, "ca"), "%s holds no PEM certificate", t.CA)
		}
	}
	switch {
	case (t.Cert == "") != (t.Key == ""):
		m.Add(join(place, "cert"), "cert and key belong together")
	case t.Cert != "":
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			m.Add(join(place, "cert"), "%w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

// Dial connects to host:port within five seconds: encrypted if config is not nil.
func Dial(ctx context.Context, address string, config *tls.Config) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	if config == nil {
		return d.DialContext(ctx, "tcp", address)
	}
	secure := tls.Dialer{NetDialer: &d, Config: config} // whose Timeout covers the handshake
	return secure.DialContext(ctx, "tcp", address)
}
