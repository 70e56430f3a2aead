package session

import (
	"net"
	"sync"
	"time"
)

// maxBatch is how much a netConn gathers before it writes.
const maxBatch = 64 << 10

// netConn gathers the frames of a batch and writes them at once, and knows when
// writing has to end for good.
type netConn struct {
	net.Conn

	mu   sync.Mutex
	held bool
	buf  []byte

	deadline sync.Mutex
	final    time.Time
}

// Write implements net.Conn.
func (c *netConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held {
		return c.Conn.Write(p)
	}
	c.buf = append(c.buf, p...)
	if len(c.buf) >= maxBatch {
		if err := c.drain(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// hold makes Write gather until flush is called.
func (c *netConn) hold() {
	c.mu.Lock()
	c.held = true
	c.mu.Unlock()
}

func (c *netConn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	return c.drain()
}

func (c *netConn) drain() error {
	if len(c.buf) == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.buf)
	c.buf = c.buf[:0]
	if cap(c.buf) > 2*maxBatch {
		c.buf = nil
	}
	return err
}

// SetWriteDeadline implements net.Conn; no deadline is later than the final one.
func (c *netConn) SetWriteDeadline(t time.Time) error {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	if !c.final.IsZero() && (t.IsZero() || t.After(c.final)) {
		t = c.final
	}
	return c.Conn.SetWriteDeadline(t)
}

// endWrites sets the time after which nothing is written any more.
func (c *netConn) endWrites(t time.Time) {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	c.final = t
	_ = c.Conn.SetWriteDeadline(t)
}
