package session_test

import (
	"bufio"
	"crypto/ed25519"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/router/auth"
)

const nexusEnv = "ANYBRIDGE_TEST_NEXUS"

// The realms of the nexus router: anybody may join realm1 and discreet (which does
// not disclose callers), only joe, salty and signer may join closed.
const (
	joeTicket  = "joe-has-a-ticket"
	joeSecret  = "joe-has-a-secret"
	saltSecret = "salty-secret"
)

func signerSeed() []byte { return []byte("0123456789abcdef0123456789abcdef") }

// nexus is a router that we did not write, in a process of its own.
type nexus struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.Closer
	Web string `json:"web"` // host:port
	Raw string `json:"raw"`
}

// startNexus starts a router on free ports.
func startNexus(t testing.TB) *nexus {
	t.Helper()
	n := &nexus{t: t, Web: "127.0.0.1:0", Raw: "127.0.0.1:0"}
	n.start()
	t.Cleanup(n.kill)
	return n
}

// start starts the router on the ports it had before.
func (n *nexus) start() {
	n.t.Helper()
	config, _ := json.Marshal(n)
	n.cmd = exec.Command(os.Args[0], "-test.run=^$")
	n.cmd.Env = append(os.Environ(), nexusEnv+"="+string(config))
	n.cmd.Stderr = os.Stderr
	in, err := n.cmd.StdinPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.in = in
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		n.t.Fatalf("start nexus: %v", err)
	}
	if err := json.Unmarshal(line, n); err != nil {
		n.t.Fatalf("start nexus: %v: %s", err, line)
	}
}

// kill ends the router at once, as kill -9 does.
func (n *nexus) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
	_ = n.in.Close()
}

// runNexus is the router's process.
func runNexus(config string) {
	var addr nexus
	fatal := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "nexus:", err)
			os.Exit(1)
		}
	}
	fatal(json.Unmarshal([]byte(config), &addr))
	keys := keyStore{}
	r, err := router.NewRouter(&router.Config{RealmConfigs: []*router.RealmConfig{
		{URI: "realm1", AnonymousAuth: true, AllowDisclose: true},
		{URI: "realm2", AnonymousAuth: true, AllowDisclose: true},
		{URI: "discreet", AnonymousAuth: true},
		{URI: "closed", AllowDisclose: true, Authenticators: []auth.Authenticator{
			auth.NewTicketAuthenticator(keys, time.Second),
			auth.NewCRAuthenticator(keys, time.Second),
			auth.NewCryptoSignAuthenticator(keys, time.Second),
		}},
	}}, log.New(io.Discard, "", 0))
	fatal(err)
	web := router.NewWebsocketServer(r)
	web.OutQueueSize = 1 << 16
	web.KeepAlive = time.Minute
	listener, err := listenAgain(addr.Web)
	fatal(err)
	go func() { fatal(http.Serve(listener, web)) }()
	addr.Web = listener.Addr().String()

	raw := router.NewRawSocketServer(r)
	raw.OutQueueSize = 1 << 16
	if addr.Raw == "127.0.0.1:0" { // nexus does not tell which port it took
		probe, err := net.Listen("tcp", addr.Raw)
		fatal(err)
		addr.Raw = probe.Addr().String()
		fatal(probe.Close())
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err = raw.ListenAndServe("tcp", addr.Raw); err == nil || time.Now().After(deadline) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	fatal(err)
	fatal(json.NewEncoder(os.Stdout).Encode(addr))
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test is over
}

// listenAgain listens on a port that a killed process may still hold for a moment.
func listenAgain(addr string) (l net.Listener, err error) {
	for deadline := time.Now().Add(10 * time.Second); ; {
		if l, err = net.Listen("tcp", addr); err == nil || time.Now().After(deadline) {
			return l, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// keyStore knows joe, salty and signer.
type keyStore struct{}

func (keyStore) AuthKey(authid, method string) ([]byte, error) {
	switch {
	case authid == "joe" && method == "ticket":
		return []byte(joeTicket), nil
	case authid == "joe" && method == "wampcra":
		return []byte(joeSecret), nil
	case authid == "salty" && method == "wampcra":
		key, err := pbkdf2.Key(sha256.New, saltSecret, []byte("pepper"), 1000, 32)
		return []byte(base64.StdEncoding.EncodeToString(key)), err
	case authid == "signer" && method == "cryptosign":
		return ed25519.NewKeyFromSeed(signerSeed())[32:], nil
	}
	return nil, errors.New("no such user")
}

func (keyStore) PasswordInfo(authid string) (string, int, int) {
	if authid == "salty" {
		return "pepper", 32, 1000
	}
	return "", 0, 0
}
func (keyStore) Provider() string                { return "test" }
func (keyStore) AuthRole(string) (string, error) { return "user", nil }
