// Package xmpptest starts a real XMPP server (Prosody) for tests, and an independent
// client (slixmpp) beside it.
package xmpptest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The names of what the server serves.
const (
	Domain = "xmpp.test"
	Rooms  = "rooms.xmpp.test"
	PubSub = "pubsub.xmpp.test"
)

// Server is a running Prosody.
type Server struct {
	Addr   string // host:port, with STARTTLS (or without TLS; see Options)
	Direct string // host:port, with TLS from the first byte
	CA     string // a file: who signed its certificate

	dir  string
	path string // of Prosody's program
	cmd  *exec.Cmd
}

// Options change the server.
type Options struct {
	Plaintext bool     // logins without TLS are allowed, and TLS is not offered
	Without   []string // modules that are left out, for example "smacks"
}

// Start starts a server that ends with the test. Without Prosody the test is skipped, or
// fails where clients are required.
func Start(t testing.TB, options ...Options) *Server {
	t.Helper()
	path := find("prosody")
	if path == "" {
		Missing(t, "prosody is not installed: run scripts/servers")
	}
	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	s := &Server{dir: t.TempDir()}
	ports := freePorts(t, 2)
	s.Addr, s.Direct = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	s.CA = filepath.Join(s.dir, "ca.pem")
	if err := certificates(s.dir, Domain, Rooms, PubSub); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "prosody.cfg.lua"), []byte(s.config(o, ports)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.path = path
	t.Cleanup(func() { s.Kill() })
	s.Restart(t)
	return s
}

func (s *Server) config(o Options, ports []int) string {
	modules := []string{"roster", "saslauth", "disco", "ping", "presence", "message", "iq", "offline", "c2s", "smacks", "adhoc", "pep"}
	if !o.Plaintext {
		modules = append(modules, "tls")
	}
	var enabled []string
	for _, m := range modules {
		if !strings.Contains(" "+strings.Join(o.Without, " ")+" ", " "+m+" ") {
			enabled = append(enabled, fmt.Sprintf("%q", m))
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "run_as_root = true\npidfile = %q\ndata_path = %q\n", s.dir+"/pid", s.dir+"/data")
	fmt.Fprintf(&b, "modules_enabled = { %s }\n", strings.Join(enabled, "; "))
	fmt.Fprintf(&b, "modules_disabled = { \"s2s\"; %s }\n", quoteAll(o.Without))
	fmt.Fprintf(&b, "interfaces = { \"127.0.0.1\" }\nc2s_ports = { %d }\nc2s_direct_tls_ports = { %d }\n", ports[0], ports[1])
	fmt.Fprintf(&b, "s2s_ports = {}\ncomponent_ports = {}\nhttp_ports = {}\nhttps_ports = {}\n")
	fmt.Fprintf(&b, "c2s_require_encryption = %t\nauthentication = \"internal_plain\"\ndefault_storage = \"memory\"\nstorage = { accounts = \"internal\" }\n", !o.Plaintext)
	fmt.Fprintf(&b, "allow_unencrypted_plain_auth = %t\n", o.Plaintext)
	fmt.Fprintf(&b, "log = { info = %q }\n", s.dir+"/log")
	fmt.Fprintf(&b, "ssl = { key = %q; certificate = %q }\n", s.dir+"/key.pem", s.dir+"/cert.pem")
	fmt.Fprintf(&b, "c2s_direct_tls_ssl = { key = %q; certificate = %q }\n", s.dir+"/key.pem", s.dir+"/cert.pem")
	fmt.Fprintf(&b, "VirtualHost %q\n", Domain)
	fmt.Fprintf(&b, "Component %q \"muc\"\n", Rooms)
	fmt.Fprintf(&b, "Component %q \"pubsub\"\n", PubSub)
	fmt.Fprintf(&b, "admins = { ")
	for _, name := range Admins() {
		fmt.Fprintf(&b, "%q; ", name+"@"+Domain)
	}
	fmt.Fprintf(&b, "}\n")
	return b.String()
}

func quoteAll(names []string) string {
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "%q; ", n)
	}
	return b.String()
}

// Admins are the accounts that may create PubSub nodes, and publish to all.
func Admins() []string { return []string{"one", "two", "anybridge", "slix"} }

// Account makes an account with the password "secret-" and its name, and returns its
// JID.
func (s *Server) Account(t testing.TB, name string) string {
	t.Helper()
	escape := strings.NewReplacer(".", "%2e", "-", "%2d").Replace
	dir := filepath.Join(s.dir, "data", escape(Domain), "accounts")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("return { [\"password\"] = %q; };\n", Password(name))
	if err := os.WriteFile(filepath.Join(dir, escape(name)+".dat"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
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
	s.cmd = exec.CommandContext(context.Background(), s.path, "-F", "--config", s.dir+"/prosody.cfg.lua") //nolint:gosec // found in PATH
	var output bytes.Buffer
	s.cmd.Stdout, s.cmd.Stderr = &output, &output
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
			t.Fatalf("prosody does not listen: %v\n%s\n%s", err, output.String(), s.Log())
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

func freePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}
