package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/backendtest"
	"github.com/anybridge/anybridge/core"
)

func TestMain(m *testing.M) {
	backendtest.Main(m, func(log *slog.Logger) core.Backend { return newBackend(log) })
}

func TestConformance(t *testing.T) {
	server := startMosquitto(t)
	system := backendtest.System{
		Config:      func(testing.TB) json.RawMessage { return server.section(100_000) },
		BurstConfig: func(testing.TB) json.RawMessage { return server.section(500) },
		BadConfigs: map[string]string{
			`{}`:                                 "server",
			`{"server": "mqtt://u:Pa55word@x/"}`: "server",
			`{"server": "mqtt://x", "prefix": "a/#/"}`: "prefix",
		},
		Secrets:          []string{"Pa55word"},
		Kill:             server.kill,
		Start:            server.start,
		BadNames:         []string{"a.+", "#", "a.#.b"},
		SharesProcedures: true,
		NoCancel:         true,
	}
	// As anybody's plugin: a program.
	program := filepath.Join(t.TempDir(), "plugin-mqtt")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	system.Command = []string{program}
	// And in this process, where the race detector sees it.
	system.New = func(log *slog.Logger) core.Backend { return newBackend(log) }
	backendtest.Run(t, system)
}

// TestOthers talks with Mosquitto's own client.
func TestOthers(t *testing.T) {
	server := startMosquitto(t)
	b := newBackend(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := b.Open(ctx, server.section(100)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close(ctx) }()
	address := core.Address{Backend: "mqtt", Name: "shop.orders"}
	stream, err := b.Subscribe(ctx, core.Pattern{Address: address, Match: core.Exact})
	if err != nil {
		t.Fatal(err)
	}
	for sent, want := range map[string]string{
		`{"args":[1],"kwargs":{"a":2}}`: `{"args":[1],"kwargs":{"a":2}}`,
		`21.5`:                          `{"args":[21.5]}`,
		`{"temperature":3}`:             `{"args":[{"temperature":3}]}`,
		"plain text \xff":               `{"args":["plain text \ufffd"]}`,
	} {
		server.client(t, "mosquitto_pub", "-t", "shop/orders", "-m", sent)
		events, err := stream.Next(ctx)
		if err != nil || len(events) != 1 || events[0].JSON() != want && events[0].JSON() != fmt.Sprintf(`{"args":[%q]}`, "plain text �") {
			t.Errorf("%q came as %v, %v", sent, events, err)
		}
	}
	if err := b.Publish(ctx, &core.Event{Topic: address, Payload: core.Payload{Args: json.RawMessage(`["hi"]`)}, Options: core.PublishOptions{Retain: true}}); err != nil {
		t.Fatal(err)
	}
	if got := server.client(t, "mosquitto_sub", "-t", "shop/#", "-C", "1", "-F", "%t %p"); got != "shop/orders {\"args\":[\"hi\"]}\n" {
		t.Errorf("mosquitto_sub got %q", got)
	}
}

// mosquitto is a real server.
type mosquitto struct {
	program, conf, port string
	cmd                 *exec.Cmd
}

func startMosquitto(t testing.TB) *mosquitto {
	program := lookPath(t, "mosquitto")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	dir := t.TempDir()
	m := &mosquitto{program: program, port: port, conf: filepath.Join(dir, "mosquitto.conf")}
	// Mosquitto's own queue of 1000 messages overflows without a word.
	conf := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\npersistence false\nset_tcp_nodelay true\nuser root\n", port)
	if err := os.WriteFile(m.conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	t.Cleanup(func() { m.kill(t) })
	return m
}

func lookPath(t testing.TB, name string) string {
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	if os.Getenv("ANYBRIDGE_TEST_CLIENTS") == "required" {
		t.Fatalf("%s is not installed: run scripts/servers", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

func (m *mosquitto) start(t testing.TB) {
	m.cmd = exec.Command(m.program, "-c", m.conf)
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", "127.0.0.1:"+m.port)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("mosquitto does not start: %v", err)
		}
	}
}

func (m *mosquitto) kill(testing.TB) {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

func (m *mosquitto) section(queue int) json.RawMessage {
	return fmt.Appendf(nil, `{"server": "mqtt://127.0.0.1:%s", "username": "u", "password": "Pa55word", "queue": %d}`, m.port, queue)
}

func (m *mosquitto) client(t testing.TB, program string, args ...string) string {
	out, err := exec.Command(lookPath(t, program), append([]string{"-p", m.port}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return string(out)
}
