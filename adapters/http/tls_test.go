package rest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

func TestPrivateAuthority(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	good := ca.server(nil, time.Time{}, "127.0.0.1")
	wrongHost := ca.server(nil, time.Time{}, "app.example", "127.0.0.2")
	expired := ca.server(nil, time.Now().Add(-time.Minute), "127.0.0.1")
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.TLS = good.TLS.Clone()
	old.TLS.MinVersion, old.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	old.StartTLS()
	defer old.Close()

	with := func(ca ...*x509.Certificate) *Callbacks {
		return newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback(), CA: ca}})
	}
	for _, tt := range []struct {
		name   string
		c      *Callbacks
		server *httptest.Server
		says   string // "" for success
	}{
		{"its authority is not known", with(), good, "authority that the bridge does not know; the operator can add a private one (callbacks.ca)"},
		{"another authority is known", with(other.certificate), good, "authority that the bridge does not know"},
		{"its authority is known", with(ca.certificate), good, ""},
		{"two authorities are known", with(other.certificate, ca.certificate), good, ""},
		{"another host name", with(ca.certificate), wrongHost, "valid for another host name"},
		{"expired", with(ca.certificate), expired, "has expired"},
		{"TLS 1.1", with(ca.certificate), old, "no TLS 1.2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.c.Invoke(context.Background(), registration(tt.server.URL), invocation())
			out := tt.c.Send(context.Background(), eventAttempt(tt.server.URL))
			if tt.says == "" {
				if err != nil || string(got.Args) != "[5]" || !out.Done {
					t.Errorf("got %v, %v; an event %+v", got, err, out)
				}
				return
			}
			for _, err := range []error{err, out.Err} {
				if core.CodeOf(err) != core.CallbackFailed || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "127.0.0") {
					t.Errorf("got %v", err)
				}
			}
			if out.Ours {
				t.Error("the attempt does not count")
			}
		})
	}
}

// A reload that adds an authority counts at once, and so does one that takes it
// away: no session and no connection of before is used.
func TestAuthoritiesChangeWithThePolicy(t *testing.T) {
	ca := newAuthority(t)
	s := ca.server(nil, time.Time{}, "127.0.0.1")
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback()}})
	for i, known := range []bool{false, true, false, true} {
		p := Policy{Allow: loopback()}
		if known {
			p.CA = []*x509.Certificate{ca.certificate}
		}
		c.SetPolicy(p)
		for range 2 {
			if _, err := c.Invoke(context.Background(), registration(s.URL), invocation()); (err == nil) != known {
				t.Errorf("policy %d: got %v", i, err)
			}
		}
	}
}

// The authorities are in addition to the system's.
func TestSystemAuthoritiesStay(t *testing.T) {
	ca := newAuthority(t)
	system, err := x509.SystemCertPool()
	if err != nil {
		t.Skip("this system has no authorities")
	}
	want := system.Clone()
	want.AddCert(ca.certificate)
	if got := authorities([]*x509.Certificate{ca.certificate}); !got.Equal(want) {
		t.Error("the pool is not the system's with one more")
	}
	if authorities(nil) != nil {
		t.Error("without more the system's own verifier is not used")
	}
}
