// Package redistest starts Redis servers for tests, on free loopback ports.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a redis-server, or a sentinel, of its own.
type Server struct {
	Addr     string // host:port
	Port     int
	Dir      string   // where it keeps its files
	Settings []string // lines of its configuration

	t        testing.TB
	cli      []string
	sentinel bool
	cmd      *exec.Cmd
	done     chan struct{}
}

// Patience is how long tests wait for what must happen.
const Patience = 30 * time.Second

// Need finds a program, or skips the test; it fails it where ANYBRIDGE_TEST_CLIENTS is
// "required".
func Need(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, err = exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	if os.Getenv("ANYBRIDGE_TEST_CLIENTS") == "required" {
		t.Fatalf("%s is missing: run scripts/servers", name)
	}
	t.Skipf("%s is missing: run scripts/servers", name)
	return ""
}

// Start runs a server with further settings, lines of redis.conf, until the test ends.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := Prepare(t, settings...)
	s.Start()
	return s
}

// Prepare makes a server that is not running yet.
func Prepare(t testing.TB, settings ...string) *Server {
	t.Helper()
	Need(t, "redis-server")
	Need(t, "redis-cli")
	port := FreePort(t)
	s := &Server{Addr: "127.0.0.1:" + strconv.Itoa(port), Port: port, Dir: t.TempDir(), t: t}
	s.Settings = append([]string{
		"bind 127.0.0.1", "port " + strconv.Itoa(port), "dir " + s.Dir, "daemonize no", "protected-mode no",
		`save ""`, "appendonly no", "loglevel warning", "repl-diskless-sync-delay 0",
	}, settings...)
	s.cli = []string{"-e", "-p", strconv.Itoa(port)} // -e: an error reply is a failure
	t.Cleanup(s.Kill)
	return s
}

// WithTLS makes the server speak TLS alone, and ask for client certificates.
func (s *Server) WithTLS(ca, cert, key string) *Server {
	s.Settings = append(s.Settings, "port 0", "tls-port "+strconv.Itoa(s.Port),
		"tls-ca-cert-file "+ca, "tls-cert-file "+cert, "tls-key-file "+key, "tls-auth-clients yes")
	s.cli = append(s.cli, "--tls", "--cacert", ca, "--cert", cert, "--key", key)
	return s
}

// FreePort finds a port that was free a moment ago, and whose cluster port is too.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if port < 54000 {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// Start runs the server and waits until it answers. After Kill it comes back with the
// same address and files.
func (s *Server) Start() {
	s.t.Helper()
	config := filepath.Join(s.Dir, "redis.conf")
	if _, err := os.Stat(config); err != nil { // a sentinel rewrites its own
		if err := os.WriteFile(config, []byte(strings.Join(s.Settings, "\n")+"\n"), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	args := []string{config}
	if s.sentinel {
		args = append(args, "--sentinel")
	}
	var log bytes.Buffer
	s.cmd = exec.CommandContext(context.Background(), Need(s.t, "redis-server"), args...) //nolint:gosec // our own arguments
	s.cmd.Stdout, s.cmd.Stderr = &log, &log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		defer close(done)
		_ = cmd.Wait()
	}(s.cmd, s.done)
	for end := time.Now().Add(Patience); ; time.Sleep(10 * time.Millisecond) {
		if s.answers() {
			return
		}
		select {
		case <-s.done:
			s.t.Fatalf("redis-server has ended: %s", log.String())
		default:
		}
		if time.Now().After(end) {
			s.t.Fatalf("redis-server does not answer on %s", s.Addr)
		}
	}
}

// answers reports whether the server has loaded its data and executes commands.
func (s *Server) answers() bool {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(s.t.Context(), "tcp", s.Addr)
	if err != nil {
		return false
	}
	_ = c.Close()
	out, err := s.Run("PING")
	return err == nil || strings.HasPrefix(out, "NOAUTH") // it would, for those it knows
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.done
	s.cmd = nil
}

// Stop freezes the server (SIGSTOP); Continue wakes it.
func (s *Server) Stop() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue wakes a server that Stop froze.
func (s *Server) Continue() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// URL is where clients find the server.
func (s *Server) URL() string { return "redis://" + s.Addr }

// CLI runs redis-cli and returns what it prints.
func (s *Server) CLI(args ...string) string {
	s.t.Helper()
	out, err := s.Run(args...)
	if err != nil {
		s.t.Fatalf("redis-cli %q: %v: %s", args, err, out)
	}
	return out
}

// Run is CLI, but returns its failure.
func (s *Server) Run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	cmd := s.Command(ctx, args...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSuffix(string(out), "\n"), err
}

// Command is redis-cli with these arguments, not started yet.
func (s *Server) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, Need(s.t, "redis-cli"), append(append([]string{}, s.cli...), args...)...) //nolint:gosec // a test's own arguments
}

// Sentinels runs a master, replicas and sentinels.
func Sentinels(t testing.TB, replicas, sentinels int) (master *Server, others, watchers []*Server) {
	t.Helper()
	master = Start(t, "repl-diskless-sync yes")
	for range replicas {
		others = append(others, Start(t, fmt.Sprintf("replicaof 127.0.0.1 %d", master.Port)))
	}
	for range sentinels {
		s := Prepare(t)
		s.sentinel = true
		s.Settings = []string{
			"bind 127.0.0.1", "port " + strconv.Itoa(s.Port), "dir " + s.Dir, "protected-mode no",
			fmt.Sprintf("sentinel monitor mymaster 127.0.0.1 %d %d", master.Port, sentinels/2+1),
			"sentinel down-after-milliseconds mymaster 500", "sentinel failover-timeout mymaster 3000",
			"sentinel parallel-syncs mymaster 1",
		}
		s.Start()
		watchers = append(watchers, s)
	}
	Eventually(t, "the sentinels know each other and the replicas", func() bool {
		for _, w := range watchers {
			out := w.CLI("SENTINEL", "MASTER", "mymaster")
			if !strings.Contains(out, fmt.Sprintf("num-slaves\n%d\n", replicas)) || !strings.Contains(out, fmt.Sprintf("num-other-sentinels\n%d\n", sentinels-1)) {
				return false
			}
		}
		for _, o := range others {
			if !strings.Contains(o.CLI("INFO", "replication"), "master_link_status:up") {
				return false
			}
		}
		return true
	})
	return master, others, watchers
}

// Cluster runs a cluster of masters.
func Cluster(t testing.TB, masters int) []*Server {
	t.Helper()
	var all []*Server
	create := []string{"--cluster", "create"}
	for range masters {
		s := Start(t, "cluster-enabled yes", "cluster-node-timeout 1000")
		all = append(all, s)
		create = append(create, s.Addr)
	}
	all[0].CLI(append(create, "--cluster-replicas", "0", "--cluster-yes")...)
	Eventually(t, "the cluster is complete", func() bool {
		for _, s := range all {
			if !strings.Contains(s.CLI("CLUSTER", "INFO"), "cluster_state:ok") {
				return false
			}
		}
		return true
	})
	return all
}

// Eventually waits until ok.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}
