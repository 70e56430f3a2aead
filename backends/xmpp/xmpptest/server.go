// Package xmpptest starts real XMPP servers (Prosody, ejabberd) for tests, and an
// independent client (slixmpp) beside them.
package xmpptest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// The names of what a server serves.
const (
	Domain = "xmpp.test"
	Rooms  = "rooms.xmpp.test"
	PubSub = "pubsub.xmpp.test"
)

// Server is a running server.
type Server struct {
	Addr   string // host:port, with STARTTLS (or without TLS; see Options)
	Direct string // host:port, with TLS from the first byte
	CA     string // a file: who signed its certificate

	dir  string
	make maker
	cmd  *exec.Cmd
}

// Options change the server.
type Options struct {
	Plaintext          bool // logins without TLS are allowed, and TLS is not offered
	NoStreamManagement bool // XEP-0198 is left out
}

// Starter starts a server that ends with the test. Where the server is not installed the
// test is skipped, or fails if everything has to be there.
type Starter func(t testing.TB, options ...Options) *Server

// Makes are the makes of servers that there are, by name.
func Makes() map[string]Starter {
	return map[string]Starter{"prosody": Start, "ejabberd": StartEjabberd}
}

// maker is a make of server.
type maker interface {
	// config writes what the server reads into s.dir.
	config(s *Server, o Options) error
	// command is the server, in the foreground.
	command(s *Server) (*exec.Cmd, error)
	// account makes an account, or leaves the one that is there.
	account(s *Server, name, password string) error
}

func start(t testing.TB, m maker, options []Options) *Server {
	t.Helper()
	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	s := &Server{dir: t.TempDir(), make: m}
	ports := freePorts(t, 2)
	s.Addr, s.Direct = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	s.CA = filepath.Join(s.dir, "ca.pem")
	if err := certificates(s.dir, Domain, Rooms, PubSub); err != nil {
		t.Fatal(err)
	}
	if err := m.config(s, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	s.Restart(t)
	return s
}

// Admins are the accounts that may create PubSub nodes, and publish to all.
func Admins() []string { return []string{"one", "two", "anybridge", "slix"} }

// Account makes an account with the password "secret-" and its name, and returns its
// JID.
func (s *Server) Account(t testing.TB, name string) string {
	t.Helper()
	if err := s.make.account(s, name, Password(name)); err != nil {
		t.Fatalf("make account %s: %v", name, err)
	}
	return name + "@" + Domain
}

// Password is an account's.
func Password(name string) string { return "secret-" + name }

// Kill ends the server with SIGKILL.
func (s *Server) Kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

// Freeze stops the server in its tracks, as a network does that loses everything; Thaw
// lets it go on.
func (s *Server) Freeze() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw is the end of Freeze.
func (s *Server) Thaw() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// Restart starts the server after Kill, and waits until it listens.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	var err error
	if s.cmd, err = s.make.command(s); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	s.cmd.Stderr = &output
	if s.cmd.Stdout == nil {
		s.cmd.Stdout = &output
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", s.Addr)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			s.Kill()
			t.Fatalf("the server does not listen: %v\n%s\n%s", err, output.String(), s.Log())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Log is what the server has logged.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.dir + "/log")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Missing skips the test, or fails it where everything has to be there.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("ANYBRIDGE_TEST_CLIENTS") == "required" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}

// port is the port of an address of ours.
func port(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err)
	}
	return port
}

// freePorts are ports of 127.0.0.1 that are free, and stay so while the server is away. They
// are none that connections are given at random; a UDP socket of the same number keeps
// other tests away.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	const first, last = 10_000, 30_000
	var ports []int
	for range 1000 {
		if len(ports) == n {
			return ports
		}
		port := first + rand.N(last-first) //nolint:gosec // it need not be secret
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		taken, err := (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", addr)
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = taken.Close() })
		if l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr); err == nil {
			_ = l.Close()
			ports = append(ports, port)
		}
	}
	t.Fatal("no port is free")
	return nil
}
