package quick

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// bufferSize holds the head of a plain request, and a body of the usual size.
const bufferSize = 4 << 10

// conn is one connection. But for wake and cut it belongs to one goroutine.
type conn struct {
	s      *Server
	nc     net.Conn
	rest   *handover
	in     *bufio.Reader
	ctx    context.Context //nolint:containedctx // of the requests: it ends with the connection
	cancel context.CancelFunc

	plain      plain
	request    *http.Request
	body       body
	response   response
	readUntil  time.Time // the deadlines that are set
	writeUntil time.Time

	idle atomic.Bool // waits for a request
}

func newConn(s *Server, nc net.Conn, rest *handover) *conn {
	c := &conn{s: s, nc: nc, rest: rest, in: bufio.NewReaderSize(nc, bufferSize)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.plain.header = http.Header{}
	c.response.header = http.Header{}
	c.body.from = c.in
	c.request = (&http.Request{
		Method: http.MethodPost, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: c.plain.header, Body: &c.body, URL: &url.URL{}, RemoteAddr: nc.RemoteAddr().String(),
	}).WithContext(c.ctx)
	return c
}

// serve answers requests until the client hangs up or is silent for too long, and reports
// whether the connection was handed over.
func (c *conn) serve() (handedOver bool) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint,err113 // net/http compares it so
			c.s.o.Rest.ErrorLog.Printf("panic serving %s: %v\n%s", c.request.RemoteAddr, p, debug.Stack())
		}
	}()
	for patience := c.s.o.Rest.ReadHeaderTimeout; c.wait(patience); patience = c.s.o.Rest.IdleTimeout {
		here, _ := c.in.Peek(c.in.Buffered())
		end := bytes.Index(here, []byte("\r\n\r\n"))
		if end < 0 || !c.plain.recognise(here[:end+4], c.s.o.Prefix, c.s.o.MaxBody) {
			return c.handOver(bytes.Clone(here))
		}
		_, _ = c.in.Discard(end + 4)
		if !c.answer() {
			return false
		}
	}
	return false
}

// wait waits for the first bytes of a request.
func (c *conn) wait(patience time.Duration) bool {
	// Not for each request: a deadline may come by an eighth too early.
	if until := time.Now().Add(patience); until.Sub(c.readUntil) > patience/8 {
		c.readUntil = until
		_ = c.nc.SetReadDeadline(until)
	}
	c.idle.Store(true) // so either we see that the server is closing, or it sees this
	if c.s.closing.Load() {
		return false
	}
	_, err := c.in.Peek(1)
	c.idle.Store(false)
	return err == nil
}

// wake has a connection that waits for a request closed.
func (c *conn) wake() {
	if c.idle.Load() {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// cut ends the connection, and the request under way.
func (c *conn) cut() {
	c.cancel()
	_ = c.nc.Close()
}

// end closes the connection.
func (c *conn) end() {
	c.cut()
	c.s.watch(c.nc, http.StateClosed)
}

func (c *conn) handOver(read []byte) bool {
	_ = c.nc.SetDeadline(time.Time{}) // net/http sets its own
	if !c.rest.give(&handed{Conn: c.nc, read: read}) {
		return false
	}
	c.cancel()
	return true
}

// answer has the handler answer a request, and reports whether there may be another one.
func (c *conn) answer() bool {
	r := c.request
	r.URL.Path, r.RequestURI, r.Host, r.ContentLength = c.plain.path, c.plain.path, c.plain.host, c.plain.length
	c.body.left = c.plain.length
	if c.body.left > int64(c.in.Buffered()) {
		_ = c.nc.SetReadDeadline(time.Now().Add(c.s.o.Rest.ReadTimeout))
		c.readUntil = time.Time{}
	}
	c.response.reset()
	c.s.o.Handler.ServeHTTP(&c.response, r)
	if c.body.left > 0 {
		// As net/http does, for clients that write all before they read.
		if _, err := io.Copy(io.Discard, &c.body); err != nil {
			c.response.header.Set("Connection", "close")
		}
	}
	last := c.s.closing.Load() || c.body.left > 0
	if last {
		c.response.header.Set("Connection", "close")
	}
	most := c.s.o.Rest.WriteTimeout
	if now := time.Now(); c.writeUntil.Sub(now) < most/2 {
		c.writeUntil = now.Add(most)
		_ = c.nc.SetWriteDeadline(c.writeUntil)
	}
	_, err := c.nc.Write(c.response.bytes())
	return err == nil && !last
}

// body is the body of the request under way.
type body struct {
	from *bufio.Reader
	left int64
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error { return nil }
