package irctest

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a client waits for what it expects.
const patience = 30 * time.Second

// Client is an IRC client on a plain socket. It keeps every line it gets.
type Client struct {
	t    testing.TB
	conn net.Conn
	nick string

	mu    sync.Mutex
	lines []string
	next  int // the first line that no Expect has passed
	news  chan struct{}
	done  chan struct{}
}

// Dial connects to a server, registers with the nick and waits for the welcome. The
// client closes when the test ends.
func Dial(t testing.TB, addr, nick string) *Client {
	t.Helper()
	c := DialRaw(t, addr)
	c.nick = nick
	c.Send("NICK %s", nick)
	c.Send("USER %s 0 * :%s", nick, nick)
	c.Expect(` (376|422) `)
	return c
}

// DialRaw connects without registering.
func DialRaw(t testing.TB, addr string) *Client {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return NewClient(t, conn)
}

// NewClient reads lines from any connection, also of a server that the test plays.
func NewClient(t testing.TB, conn net.Conn) *Client {
	t.Helper()
	c := &Client{t: t, conn: conn, news: make(chan struct{}), done: make(chan struct{})}
	go c.read()
	t.Cleanup(c.Close)
	return c
}

// Close closes the connection and waits for the reader.
func (c *Client) Close() {
	_ = c.conn.Close()
	<-c.done
}

func (c *Client) read() {
	defer close(c.done)
	r := bufio.NewReader(c.conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		if token, ok := strings.CutPrefix(line, "PING "); ok && c.nick != "" {
			_, _ = fmt.Fprintf(c.conn, "PONG %s\r\n", token)
			continue
		}
		c.mu.Lock()
		c.lines = append(c.lines, line)
		close(c.news)
		c.news = make(chan struct{})
		c.mu.Unlock()
	}
}

// Send writes one line.
func (c *Client) Send(format string, args ...any) {
	c.t.Helper()
	c.Write(fmt.Sprintf(format, args...) + "\r\n")
}

// Write writes bytes as they are.
func (c *Client) Write(text string) {
	c.t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write([]byte(text)); err != nil {
		c.t.Logf("write: %v", err)
	}
}

// Join joins a channel and waits until that is done.
func (c *Client) Join(channel string) {
	c.t.Helper()
	c.Send("JOIN %s", channel)
	c.Expect(` 366 \S+ ` + regexp.QuoteMeta(strings.Fields(channel)[0]) + ` `)
}

// Expect waits for the next line that matches the regular expression and returns it.
// Lines before it are passed over.
func (c *Client) Expect(pattern string) string {
	c.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		for c.next < len(c.lines) {
			line := c.lines[c.next]
			c.next++
			if re.MatchString(line) {
				c.mu.Unlock()
				return line
			}
		}
		news := c.news
		c.mu.Unlock()
		select {
		case <-news:
			continue
		case <-c.done:
		case <-deadline:
		}
		c.t.Fatalf("%s: no line matches %s; the last lines were:\n%s", c.nick, pattern, strings.Join(c.tail(20), "\n"))
	}
}

// Lines are all lines so far.
func (c *Client) Lines() []string { return c.tail(-1) }

func (c *Client) tail(n int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := append([]string(nil), c.lines...)
	if n >= 0 && len(all) > n {
		all = all[len(all)-n:]
	}
	return all
}

// Text is the last parameter of a line.
func Text(line string) string {
	_, text, _ := strings.Cut(strings.TrimPrefix(line, ":"), " :")
	return text
}
