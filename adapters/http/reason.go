package rest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// reason says why a callback got no answer, without addresses and URLs.
func reason(err error) string {
	for _, known := range []error{errBusy, errTooLong, errGzip, errProxy, errProxyForbids, errProxyCannot, errForbidden, errDeadline} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if text := tlsReason(err); text != "" {
		return text
	}
	var dns *net.DNSError
	var errno syscall.Errno
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &dns):
		return "its host name cannot be resolved"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no connection in time"
	}
	return fmt.Sprintf("the connection failed (%s)", snippet([]byte(withoutAddresses(err))))
}

// protocolVersion is how crypto/tls words the alert of that name (RFC 8446,
// section 6), whose type it does not export.
const protocolVersion = "tls: protocol version not supported"

// tlsReason says what is wrong with an endpoint's TLS, or nothing.
func tlsReason(err error) string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &authority):
		return "its TLS certificate is signed by an authority that the bridge does not know; the operator can add a private one (callbacks.ca)"
	case errors.As(err, &host):
		return "its TLS certificate is valid for another host name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its TLS certificate has expired, or is not valid yet"
	case errors.As(err, &cert), errors.As(err, &invalid):
		return "its TLS certificate is not valid"
	case withoutAddresses(err) == protocolVersion:
		return "it speaks no TLS 1.2 or later"
	}
	return ""
}

// withoutAddresses is the innermost message of err: network errors put addresses
// around it.
func withoutAddresses(err error) string {
	var op *net.OpError
	for errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	return err.Error()
}
