package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/redis"
	"github.com/anybridge/anybridge/backends/redis/redistest"
	"github.com/anybridge/anybridge/core"
)

// certificates writes a CA and a certificate for 127.0.0.1 that serves both sides.
func certificates(t testing.TB) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	make := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			signer = private
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der, private
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, signer := make(root, root, nil)
	ca = write("ca.pem", "CERTIFICATE", der)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, private := make(leaf, root, signer)
	cert = write("cert.pem", "CERTIFICATE", der)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return ca, cert, write("key.pem", "PRIVATE KEY", der)
}

func TestTLSWithClientCertificate(t *testing.T) {
	t.Parallel()
	ca, cert, key := certificates(t)
	s := redistest.Prepare(t).WithTLS(ca, cert, key)
	s.Start()
	url := strings.Replace(s.URL(), "redis:", "rediss:", 1)
	b := open(t, url, settings{"tls": settings{"ca": ca, "cert": cert, "key": key}}, streams(nil))
	in := subscribe(t, b, "c", core.Exact)
	entries := subscribe(t, b, "orders", core.Exact)
	s.CLI("PUBLISH", "c", "x")
	wantArgs(t, take(t, in, 1)[0], "c", `["x"]`)
	s.CLI("XADD", "orders", "*", "text", "x")
	take(t, entries, 1)
	publish(t, b, event("c", `[1]`))
	serve(t, b, "p", echo)
	if _, err := b.Call(patient(t), call("p", `[1]`)); err != nil {
		t.Error(err)
	}

	for name, wrong := range map[string]settings{
		"no certificate": {"ca": ca}, "unknown ca": {"cert": cert, "key": key},
	} {
		b := open(t, url, settings{"tls": wrong})
		st, _ := b.Status(t.Context())
		if st.State == core.Up || st.Reason == "" {
			t.Errorf("%s: %+v", name, st)
		}
	}
}

func TestACLUser(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	s := redistest.Start(t, "user default off", "user admin on >admin ~* &* +@all",
		"user bridge on >p%ss:w/rd ~rpc:* ~orders &public.* +@all -@admin -@dangerous")
	cli := func(args ...string) string {
		out, err := s.Run(append([]string{"--user", "admin", "--pass", "admin", "--no-auth-warning"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	b := open(t, "redis://bridge:p%25ss%3Aw%2Frd@"+s.Addr, streams(nil))
	in := subscribe(t, b, "public.x", core.Exact)
	cli("PUBLISH", "public.x", "x")
	wantArgs(t, take(t, in, 1)[0], "public.x", `["x"]`)
	_, err := b.Subscribe(patient(t), core.Pattern{Address: topic("secret"), Match: core.Exact})
	wantCode(t, err, core.Forbidden)
	wantCode(t, b.Publish(patient(t), event("secret", `[]`)), core.Forbidden)
	publish(t, b, event("orders", `[1]`))
	subscribe(t, b, "orders", core.Exact)
	serve(t, b, "p", echo)
	if _, err := b.Call(patient(t), call("p", `[1]`)); err != nil {
		t.Error(err)
	}
	// A right that was taken away ends the subscription; the others go on.
	cli("ACL", "SETUSER", "bridge", "resetchannels", "&public.y")
	_, err = in.Next(patient(t))
	for err == nil {
		_, err = in.Next(patient(t))
	}
	wantCode(t, err, core.Forbidden)

	b2 := redis.New(slog.New(slog.NewTextHandler(&log, nil)))
	if _, err := b2.Open(t.Context(), config("redis://bridge:wrongpassword@"+s.Addr)); err != nil {
		t.Fatal(err)
	}
	st, _ := b2.Status(t.Context())
	closeBackend(t, b2)
	if st.State != core.Down || !strings.Contains(st.Reason, "WRONGPASS") {
		t.Errorf("%+v", st)
	}
	if strings.Contains(log.String()+st.Reason, "wrongpassword") {
		t.Error("the password is in the log or in the status")
	}
}
