// Package irctest starts real IRC servers for tests, each on free ports of the
// loopback interface with a configuration of its own, and has an IRC client that
// knows nothing of the backend.
package irctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is an IRC server that runs until the test ends.
type Server struct {
	Addr    string // without TLS
	TLSAddr string // "" if it has none
	CA      string // the certificate of TLSAddr
	// Cert and Key are files of a client certificate.
	Cert, Key string

	dir     string
	path    string
	args    []string
	cmd     *exec.Cmd
	ended   chan struct{}
	output  *os.File
	restart func(t testing.TB)
}

// find looks for a program where Debian puts servers; without it the test is skipped,
// or fails where all clients are required.
func find(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	if os.Getenv("ANYBRIDGE_TEST_CLIENTS") == "required" {
		t.Fatalf("%s is missing: run scripts/servers", name)
	}
	t.Skipf("%s is missing: run scripts/servers", name)
	return ""
}

// FreePort is a port that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// nobody is a user without rights, whom servers that refuse root run as.
const nobody = 65534

// newDir makes a directory that a server may write to whoever it runs as.
func newDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "anybridge-irc-") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// Start starts the server again after Kill, on the same ports. It returns when the
// server takes connections.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	output, err := os.OpenFile(filepath.Join(s.dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s.output = output
	s.cmd = exec.Command(s.path, s.args...) //nolint:gosec,noctx // it ends with the test, by Kill
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, output, output
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		s.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	s.ended = ended
	cmd := s.cmd
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	if s.Addr != "" {
		s.await(t, s.Addr)
	}
	if s.restart != nil {
		s.restart(t)
	}
}

func (s *Server) await(t testing.TB, addr string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", addr)
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-s.ended:
			t.Fatalf("the server has ended:\n%s", s.Output())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server does not answer at %s: %v\n%s", addr, err, s.Output())
		}
	}
}

// Output is what the server has written so far.
func (s *Server) Output() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "output"))
	return string(text)
}

// Kill ends the server at once (SIGKILL), and waits until it is gone.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	_ = s.output.Close()
	s.cmd = nil
}

func (s *Server) run(t testing.TB) {
	t.Helper()
	t.Cleanup(s.Kill)
	s.Start(t)
}

// certify makes a certificate for 127.0.0.1 that signs itself and serves clients and
// servers alike.
func certify(t testing.TB, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = write(t, dir, name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	key = write(t, dir, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	return cert, key
}

func lines(format string, args ...any) string {
	return strings.TrimLeft(fmt.Sprintf(format, args...), "\n")
}
