package irc

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
)

// TLSConfig says whether to use TLS, how to check the server's certificate, and holds
// our own.
type TLSConfig struct {
	CA         string `json:"ca"` // a file of PEM certificates, in place of the system's
	ServerName string `json:"server_name"`
	Insecure   bool   `json:"insecure"` // accept any certificate
	Cert       string `json:"cert"`     // files of a client certificate and its key in PEM
	Key        string `json:"key"`

	off    bool
	config *tls.Config
}

func (t *TLSConfig) decode(m *mistakes, path string, data json.RawMessage) {
	var on bool
	if json.Unmarshal(data, &on) == nil {
		t.off = !on
		return
	}
	type plain TLSConfig // without decode
	m.decodeStrict(path, data, (*plain)(t))
}

func (t *TLSConfig) port() string {
	if t.off {
		return "6667"
	}
	return "6697"
}

// load reads the files.
func (t *TLSConfig) load(m *mistakes) {
	if t.off {
		return
	}
	t.config = &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: t.ServerName,
		InsecureSkipVerify: t.Insecure, //nolint:gosec // the operator asked for it
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		t.config.RootCAs = x509.NewCertPool()
		if err != nil {
			m.add("tls.ca", "%w", err)
		} else if !t.config.RootCAs.AppendCertsFromPEM(pem) {
			m.add("tls.ca", "%s holds no PEM certificate", t.CA)
		}
	}
	if t.Cert != "" || t.Key != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			m.add("tls.cert", "%w", err)
		}
		t.config.Certificates = []tls.Certificate{pair}
	}
}
