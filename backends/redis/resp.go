package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// conn is a connection that speaks RESP2, the protocol of Redis. The backend has its
// own where go-redis does not tell what it must know: when a subscription could not
// hear, how long a message is before it is read, what is on its way.
type conn struct {
	net.Conn
	addr    string
	r       *bufio.Reader
	maxBulk int

	writing sync.Mutex
}

// Replies are string (simple strings), int64, []byte (nil: null), []any (nil: null),
// replyError and oversized.
type (
	replyError string
	oversized  int64 // the length of a bulk string that was too long and was skipped
)

func (e replyError) Error() string { return string(e) }

const (
	writeTimeout  = 10 * time.Second
	answerTimeout = 10 * time.Second
	maxLine       = 64 << 10
	maxItems      = 1 << 20
	maxDepth      = 6
)

func newConn(c net.Conn, addr string, maxBulk int) *conn {
	return &conn{Conn: c, addr: addr, r: bufio.NewReaderSize(c, 64<<10), maxBulk: maxBulk}
}

// send writes encoded commands. It may be called concurrently.
func (c *conn) send(commands []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := c.Write(commands)
	return err
}

// do sends one command and reads its reply, which may take as long as wait. An error
// reply is an error.
func (c *conn) do(ctx context.Context, wait time.Duration, args ...string) (any, error) {
	if err := c.send(command(nil, args...)); err != nil {
		return nil, err
	}
	return c.receive(ctx, wait)
}

// receive reads one reply; when ctx ends the connection is unusable.
func (c *conn) receive(ctx context.Context, wait time.Duration) (any, error) {
	_ = c.SetReadDeadline(time.Now().Add(wait))
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	reply, err := c.read(0)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	if e, ok := reply.(replyError); ok {
		return nil, e
	}
	return reply, nil
}

// command appends a command in RESP to b.
func command(b []byte, args ...string) []byte {
	b = append(b, '*')
	b = append(strconv.AppendInt(b, int64(len(args)), 10), '\r', '\n')
	for _, arg := range args {
		b = appendBulk(b, arg)
	}
	return b
}

// appendBulk appends one argument of a command.
func appendBulk[T string | []byte](b []byte, arg T) []byte {
	b = append(b, '$')
	b = append(strconv.AppendInt(b, int64(len(arg)), 10), '\r', '\n')
	return append(append(b, arg...), '\r', '\n')
}

var errProtocol = errors.New("the server does not speak Redis' protocol")

// read reads one reply. An error means that the connection cannot be used any more.
func (c *conn) read(depth int) (any, error) {
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	if len(line) == 0 || depth > maxDepth {
		return nil, errProtocol
	}
	text := string(line[1:])
	switch line[0] {
	case '+':
		return text, nil
	case '-':
		return replyError(text), nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, errProtocol
	}
	switch line[0] {
	case ':':
		return n, nil
	case '$':
		return c.bulk(n)
	case '*':
		return c.list(n, depth)
	}
	return nil, errProtocol
}

func (c *conn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, errProtocol
		}
		return nil, err
	}
	if len(line) < 2 || len(line) > maxLine || line[len(line)-2] != '\r' {
		return nil, errProtocol
	}
	return line[:len(line)-2], nil
}

func (c *conn) bulk(n int64) (any, error) {
	switch {
	case n == -1:
		return []byte(nil), nil
	case n < 0:
		return nil, errProtocol
	case n > int64(c.maxBulk):
		if err := c.skip(n + 2); err != nil {
			return nil, err
		}
		return oversized(n), nil
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return nil, err
	}
	if b[n] != '\r' || b[n+1] != '\n' {
		return nil, errProtocol
	}
	return b[:n:n], nil
}

// skip reads over n bytes, each portion of which extends the deadline.
func (c *conn) skip(n int64) error {
	for n > 0 {
		_ = c.SetReadDeadline(time.Now().Add(answerTimeout))
		part, err := io.CopyN(io.Discard, c.r, min(n, 1<<20))
		if err != nil {
			return err
		}
		n -= part
	}
	return nil
}

func (c *conn) list(n int64, depth int) (any, error) {
	switch {
	case n == -1:
		return []any(nil), nil
	case n < 0 || n > maxItems:
		return nil, errProtocol
	}
	items := make([]any, 0, min(n, 1024))
	for range n {
		item, err := c.read(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// handshake authenticates and chooses the database.
func (c *conn) handshake(ctx context.Context, p *place, db int) error {
	if len(p.password) > 0 {
		args := []string{"AUTH", p.username, string(p.password)}
		if p.username == "" {
			args = []string{"AUTH", string(p.password)}
		}
		if _, err := c.do(ctx, answerTimeout, args...); err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
	}
	if db != 0 {
		if _, err := c.do(ctx, answerTimeout, "SELECT", strconv.Itoa(db)); err != nil {
			return fmt.Errorf("select database %d: %w", db, err)
		}
	}
	if _, err := c.do(ctx, answerTimeout, "PING"); err != nil && !isReply(err, "NOPERM") {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// isReply reports whether err is an error reply that begins with one of the words.
func isReply(err error, words ...string) bool {
	if err == nil {
		return false
	}
	for _, word := range words {
		if strings.HasPrefix(err.Error(), word) {
			return true
		}
	}
	return false
}
