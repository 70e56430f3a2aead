package lean

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// Redis is a connection that has subscribed to one channel (RESP2). It is for one
// goroutine.
type Redis struct {
	conn net.Conn
	r    *bufio.Reader
	buf  []byte
}

// SubscribeRedis connects to the server at addr (host:port) and subscribes to channel.
func SubscribeRedis(ctx context.Context, addr, channel string) (*Redis, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	c := &Redis{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	if err := c.subscribe(channel); err != nil {
		conn.Close()
		return nil, fmt.Errorf("subscribe to %s: %w", channel, err)
	}
	return c, nil
}

func (c *Redis) subscribe(channel string) error {
	if _, err := fmt.Fprintf(c.conn, "*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n", len(channel), channel); err != nil {
		return err
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(); err != nil {
		return err
	}
	return c.conn.SetReadDeadline(time.Time{})
}

// Close closes the connection.
func (c *Redis) Close() { c.conn.Close() }

// Read returns the last string of the next push, valid until the next Read: of a
// message that is the payload.
func (c *Redis) Read() ([]byte, error) {
	n, err := c.header('*')
	if err != nil {
		return nil, err
	}
	for range n {
		kind, err := c.r.Peek(1)
		if err != nil {
			return nil, fmt.Errorf("read push: %w", err)
		}
		if kind[0] == ':' { // how many subscriptions there are
			if _, err := c.r.ReadSlice('\n'); err != nil {
				return nil, fmt.Errorf("read push: %w", err)
			}
			continue
		}
		size, err := c.header('$')
		if err != nil {
			return nil, err
		}
		if cap(c.buf) < size+2 {
			c.buf = make([]byte, size+2)
		}
		c.buf = c.buf[:size+2]
		if _, err := io.ReadFull(c.r, c.buf); err != nil {
			return nil, fmt.Errorf("read push: %w", err)
		}
	}
	return bytes.TrimSuffix(c.buf, []byte("\r\n")), nil
}

// header reads a line of the kind and returns its number.
func (c *Redis) header(kind byte) (int, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, fmt.Errorf("read push: %w", err)
	}
	if len(line) < 4 || line[0] != kind {
		return 0, fmt.Errorf("read push: %q", line)
	}
	n, err := strconv.Atoi(string(line[1 : len(line)-2]))
	if err != nil || n < 0 {
		return 0, fmt.Errorf("read push: %q", line)
	}
	return n, nil
}
