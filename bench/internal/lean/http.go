// Package lean holds clients that cost as little CPU as they can: on a small
// machine the load competes with what it measures. They know just enough of
// HTTP/1.1, WebSocket (RFC 6455) and WAMP to drive every contender of a row in
// the same way, and they are no use for anything else.
package lean

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// HTTP is one keep-alive connection that sends the same kind of POST over and
// over. It is for one goroutine.
type HTTP struct {
	conn net.Conn
	r    *bufio.Reader
	head []byte // everything up to the value of Content-Length
	out  []byte
	body []byte
}

// DialHTTP connects to addr (host:port) for POSTs to path. token, unless empty,
// is sent as a bearer token.
func DialHTTP(ctx context.Context, addr, path, token string) (*HTTP, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	var head strings.Builder
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n", path, addr)
	if token != "" {
		fmt.Fprintf(&head, "Authorization: Bearer %s\r\n", token)
	}
	head.WriteString("Content-Length: ")
	return &HTTP{conn: conn, r: bufio.NewReaderSize(conn, 4096), head: []byte(head.String())}, nil
}

// Post sends body and returns the status and the body of the answer, which is
// valid until the next Post.
func (c *HTTP) Post(body []byte) (int, []byte, error) {
	c.out = append(c.out[:0], c.head...)
	c.out = strconv.AppendInt(c.out, int64(len(body)), 10)
	c.out = append(c.out, "\r\n\r\n"...)
	c.out = append(c.out, body...)
	if _, err := c.conn.Write(c.out); err != nil {
		return 0, nil, fmt.Errorf("write request: %w", err)
	}
	return c.readAnswer()
}

// Close closes the connection.
func (c *HTTP) Close() { c.conn.Close() }

func (c *HTTP) readAnswer() (int, []byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, nil, fmt.Errorf("read status: %w", err)
	}
	if len(line) < 12 {
		return 0, nil, fmt.Errorf("read status: %q", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, nil, fmt.Errorf("read status: %w", err)
	}
	length, chunked, err := c.readHeaders()
	if err != nil {
		return 0, nil, err
	}
	c.body = c.body[:0]
	switch {
	case chunked:
		err = c.readChunks()
	case length > 0:
		err = c.readN(length)
	case length < 0 && status != 204:
		err = errors.New("read answer: neither Content-Length nor chunks")
	}
	return status, c.body, err
}

func (c *HTTP) readHeaders() (length int, chunked bool, err error) {
	length = -1
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, false, fmt.Errorf("read header: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return length, chunked, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case len(name) == 14 && bytes.EqualFold(name, []byte("Content-Length")):
			length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
			if err != nil {
				return 0, false, fmt.Errorf("read header: %w", err)
			}
		case len(name) == 17 && bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
}

func (c *HTTP) readChunks() error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("read chunk: %w", err)
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return fmt.Errorf("read chunk: %w", err)
		}
		if err := c.readN(int(size)); err != nil {
			return err
		}
		if _, err := c.r.Discard(2); err != nil {
			return fmt.Errorf("read chunk: %w", err)
		}
		if size == 0 {
			return nil
		}
	}
}

func (c *HTTP) readN(n int) error {
	start := len(c.body)
	c.body = append(c.body, make([]byte, n)...)
	if _, err := io.ReadFull(c.r, c.body[start:]); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}
