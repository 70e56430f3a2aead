package xmpptest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Start starts a Prosody; see Starter.
func Start(t testing.TB, options ...Options) *Server {
	t.Helper()
	path := find("prosody")
	if path == "" {
		Missing(t, "prosody is not installed: run scripts/servers")
	}
	return start(t, prosody(path), options)
}

// prosody is the path of Prosody's program.
type prosody string

func (p prosody) config(s *Server, o Options) error {
	modules := []string{"roster", "saslauth", "disco", "ping", "presence", "message", "iq", "offline", "c2s", "adhoc", "pep"}
	if !o.Plaintext {
		modules = append(modules, "tls")
	}
	if !o.NoStreamManagement {
		modules = append(modules, "smacks")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "run_as_root = true\npidfile = %q\ndata_path = %q\n", s.dir+"/pid", s.dir+"/data")
	fmt.Fprintf(&b, "modules_enabled = { \"%s\" }\n", strings.Join(modules, `"; "`))
	fmt.Fprintf(&b, "modules_disabled = { \"s2s\" }\n")
	fmt.Fprintf(&b, "interfaces = { \"127.0.0.1\" }\nc2s_ports = { %s }\nc2s_direct_tls_ports = { %s }\n", port(s.Addr), port(s.Direct))
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
	return os.WriteFile(filepath.Join(s.dir, "prosody.cfg.lua"), b.Bytes(), 0o600)
}

func (p prosody) command(s *Server) (*exec.Cmd, error) {
	return exec.CommandContext(context.Background(), string(p), "-F", "--config", s.dir+"/prosody.cfg.lua"), nil //nolint:gosec // found in PATH
}

func (p prosody) account(s *Server, name, password string) error {
	escape := strings.NewReplacer(".", "%2e", "-", "%2d").Replace
	dir := filepath.Join(s.dir, "data", escape(Domain), "accounts")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	text := fmt.Sprintf("return { [\"password\"] = %q; };\n", password)
	return os.WriteFile(filepath.Join(dir, escape(name)+".dat"), []byte(text), 0o600)
}
