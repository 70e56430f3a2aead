package xmpptest

import (
	"bufio"
	"bytes"
	"context"
	_ "embed" // the client's program
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

//go:embed client.py
var program []byte

// Client is a client of another make (slixmpp), in a process of its own.
type Client struct {
	JID string // its full address

	in      io.WriteCloser
	mu      sync.Mutex
	last    int
	answers map[int]chan map[string]any
	events  chan map[string]any
}

// Client starts a client that ends with the test. Without slixmpp the test is skipped, or
// fails where clients are required.
func (s *Server) Client(t testing.TB, account string) *Client {
	t.Helper()
	python := python(t)
	jid := s.Account(t, account) + "/slix"
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "client.py")
	if err := os.WriteFile(script, program, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), python, script, jid, Password(account), host, port, s.CA) //nolint:gosec // the test's own program
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	c := &Client{answers: map[int]chan map[string]any{}, events: make(chan map[string]any, 100_000)}
	if c.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { c.read(out) })
	t.Cleanup(func() {
		_ = c.in.Close()
		_ = cmd.Process.Kill()
		reading.Wait()
		_ = cmd.Wait()
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("client: %s", stderr.String())
		}
	})
	for {
		e := c.Event(t, func(map[string]any) bool { return true })
		if e["event"] == "ready" {
			c.JID, _ = e["jid"].(string)
			return c
		}
	}
}

// python finds the interpreter that has slixmpp: scripts/setup puts it into .venv.
func python(t testing.TB) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(file), "../../../.venv/bin/python")
	look := exec.CommandContext(context.Background(), path, "-c", "import slixmpp") //nolint:gosec // the repository's own interpreter
	if out, err := look.CombinedOutput(); err != nil {
		Missing(t, "slixmpp is not installed: run scripts/setup\n"+string(out))
	}
	return path
}

func (c *Client) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var record map[string]any
		if json.Unmarshal(lines.Bytes(), &record) != nil {
			continue
		}
		id, isAnswer := record["id"].(float64)
		if !isAnswer {
			c.events <- record
			continue
		}
		c.mu.Lock()
		answer := c.answers[int(id)]
		delete(c.answers, int(id))
		c.mu.Unlock()
		if answer != nil {
			answer <- record
		}
	}
}

// Events is where everything arrives that the client hears, for tests that read it
// themselves.
func (c *Client) Events() <-chan map[string]any { return c.events }

// Do runs a command of client.py and returns its answer.
func (c *Client) Do(t testing.TB, do string, args map[string]any) map[string]any {
	t.Helper()
	answer := make(chan map[string]any, 1)
	c.mu.Lock()
	c.last++
	command := map[string]any{"id": c.last, "do": do}
	c.answers[c.last] = answer
	for k, v := range args {
		command[k] = v
	}
	line, err := json.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.in.Write(append(line, '\n'))
	c.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case record := <-answer:
		if e := record["error"]; e != nil {
			t.Fatalf("%s: %v", do, e)
		}
		return record
	case <-time.After(60 * time.Second):
		t.Fatalf("%s: no answer", do)
	}
	return nil
}

// Event waits for an event that is wanted; others are dropped.
func (c *Client) Event(t testing.TB, wanted func(map[string]any) bool) map[string]any {
	t.Helper()
	timeout := time.After(60 * time.Second)
	for {
		select {
		case e := <-c.events:
			if wanted(e) {
				return e
			}
		case <-timeout:
			t.Fatal("the client heard nothing of it")
		}
	}
}

// Message waits for the next message with a body, and returns the body and the rest.
func (c *Client) Message(t testing.TB) (string, map[string]any) {
	t.Helper()
	e := c.Event(t, func(e map[string]any) bool { return e["event"] == "message" && e["body"] != "" })
	body, _ := e["body"].(string)
	return body, e
}
