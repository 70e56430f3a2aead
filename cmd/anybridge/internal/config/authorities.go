package config

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// maxAuthorities is far beyond any bundle of certificates, in bytes.
const maxAuthorities = 4 << 20

// authorities reads the certificates in the file that "ca" names.
func (d *decoder) authorities(s section) []*x509.Certificate {
	v := s.text("ca")
	if v == nil {
		return nil
	}
	path := d.path(v.text)
	certificates, err := readCertificates(path)
	if err != nil {
		d.add(v, "ca: %v", err)
		return nil
	}
	for i, c := range certificates {
		if time.Now().After(c.NotAfter) {
			d.src.warn(v.line, v.column, "ca: certificate %d in %s has expired on %s", i+1, path, c.NotAfter.UTC().Format(time.DateOnly))
		}
	}
	return certificates
}

// readCertificates reads a file of PEM certificates, with any text between them.
func readCertificates(path string) ([]*x509.Certificate, error) {
	data, err := readSmall(path, maxAuthorities)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s holds a %s: want nothing but certificates", path, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d in %s cannot be read: %w", len(out)+1, path, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", path)
	}
	return out, nil
}

// readSmall reads a file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s", path)
	case err != nil:
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s is larger than %d KiB", path, limit>>10)
	}
	return data, nil
}
