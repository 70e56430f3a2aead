package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate is a self-signed one as PEM, and its key.
func certificate(t *testing.T, name string, notAfter time.Time) (cert, private string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: notAfter.Add(-time.Hour), NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

func TestCallbackAuthorities(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	one, key := certificate(t, "one", soon)
	two, _ := certificate(t, "two", soon)
	expired, _ := certificate(t, "expired", time.Now().Add(-time.Hour))
	for _, tt := range []struct {
		name, file string
		want       string // the names of the certificates
		says       string // part of the mistake, or of the warning
	}{
		{"one", one, "one", ""},
		{"two with text around", "# ours\n" + one + "# theirs\n" + two + "the end\n", "one two", ""},
		{"one of them expired", one + expired, "one expired", "ca: certificate 2 in DIR/certs/ca.pem has expired on "},
		{"no file", "-", "", "ca: there is no file DIR/certs/ca.pem"},
		{"empty", "", "", "ca: DIR/certs/ca.pem holds no certificate in PEM form"},
		{"no PEM", "hello", "", "holds no certificate in PEM form"},
		{"a key", one + key, "", "ca: DIR/certs/ca.pem holds a PRIVATE KEY: want nothing but certificates"},
		{"broken", one + strings.Replace(two, "MII", "MIX", 1), "", "ca: certificate 2 in DIR/certs/ca.pem cannot be read"},
		{"too large", strings.Repeat("x", maxAuthorities+1), "", "is larger than 4096 KiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "certs"), 0o700); err != nil {
				t.Fatal(err)
			}
			write := func(name, text string) {
				t.Helper()
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if tt.file != "-" {
				write("certs/ca.pem", tt.file)
			}
			write("anybridge.yaml", "callbacks:\n  ca: certs/ca.pem\n")
			o := testOptions(nil)
			o.File = filepath.Join(dir, "anybridge.yaml")
			c, err := Load(o)
			if tt.want == "" {
				if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), dir, "DIR"), "DIR/anybridge.yaml:2:7: ") || !strings.Contains(strings.ReplaceAll(err.Error(), dir, "DIR"), tt.says) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, ca := range c.Callbacks.CA {
				got = append(got, ca.Subject.CommonName)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %v", got)
			}
			warned := strings.ReplaceAll(c.Warnings.Error(), dir, "DIR")
			if tt.says != "" && !strings.Contains(warned, tt.says) || tt.says == "" && len(c.Warnings) > 0 {
				t.Errorf("warnings: %s", warned)
			}
		})
	}
}
