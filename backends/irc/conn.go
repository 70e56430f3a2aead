package irc

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ergochat/irc-go/ircmsg"
)

// conn is one connection to the server and what is known only as long as it lasts.
// Unless said otherwise its fields are guarded by the session's mu.
type conn struct {
	s    *session
	cfg  *Config // as it was when the connection was made
	net  net.Conn
	wake chan struct{} // the writer has something to do
	gone chan struct{} // closed when the connection is over

	heard atomic.Int64 // when the server was heard last, in Unix nanoseconds

	registered time.Time // when everything was ready; zero before
	welcomedAt time.Time // when 001 came
	goneWhy    error     // what the server said before it hung up
	hs         handshake
	caps       map[string]bool // enabled
	is         isupport
	nick       string
	source     string // our own nick!user@host as the server writes it; "" if unknown
	batches    map[string]batch
	parting    map[string]int // PARTs by folded channel that are not answered yet
	ns         nickserv
	nickAt     time.Time // when to try for the configured nick next
	ctcp       bucket
	pingSent   time.Time // when the server was asked whether it is there; zero = not

	out     outbox
	pending pendings
	tickAt  time.Time
}

const (
	dialTimeout     = 15 * time.Second
	registerTimeout = time.Minute // servers look up names first
	writeTimeout    = 30 * time.Second
	tickEvery       = 250 * time.Millisecond

	// maxLine is the longest line that is read: 8191 bytes of tags and 4096 of message
	// (LINELEN). Longer ones are skipped.
	maxLine = 16 << 10
)

// connect makes a connection, registers and serves it until it is lost. It returns what
// ended it.
func (s *session) connect(ctx context.Context) error {
	s.mu.Lock()
	cfg := s.cfg
	s.mu.Unlock()
	nc, err := dial(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", cfg.Server, err)
	}
	now := time.Now()
	c := &conn{
		s: s, cfg: cfg, net: nc, wake: make(chan struct{}, 1), gone: make(chan struct{}), caps: map[string]bool{},
		is: defaultISupport(), batches: map[string]batch{}, parting: map[string]int{}, ctcp: newBucket(ctcpBurst, ctcpInterval, now),
	}
	s.mu.Lock()
	c.out.bucket = newBucket(s.cfg.Flood.Burst, s.cfg.floodInterval(), now)
	c.heard.Store(now.UnixNano())
	c.startHandshake()
	s.mu.Unlock()

	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	var writer sync.WaitGroup
	writer.Go(func() { c.write(ctx) })
	err = c.read()
	cancel()
	_ = nc.Close()
	writer.Wait()

	s.mu.Lock()
	defer s.mu.Unlock()
	if c.goneWhy != nil {
		err = c.goneWhy
	}
	s.detach(c, err)
	close(c.gone)
	return err
}

func dial(ctx context.Context, cfg *Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	d := &net.Dialer{KeepAlive: 30 * time.Second}
	if cfg.TLS.off {
		return d.DialContext(ctx, "tcp", cfg.Server)
	}
	nc, err := (&tls.Dialer{NetDialer: d, Config: cfg.TLS.config}).DialContext(ctx, "tcp", cfg.Server)
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return nil, errors.New("the server does not speak TLS on this port: set tls: false, or use another port")
	}
	return nc, err
}

// read handles what the server sends, until the connection ends.
func (c *conn) read() error {
	r := bufio.NewReaderSize(c.net, maxLine)
	for skipping := false; ; {
		line, err := r.ReadSlice('\n')
		c.heard.Store(time.Now().UnixNano())
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if !skipping {
				c.s.count("hostile_lines")
			}
			skipping = true
			continue
		case err != nil:
			return fmt.Errorf("read: %w", err)
		case skipping:
			skipping = false
			continue
		}
		msg, err := ircmsg.ParseLine(string(line))
		if err != nil {
			if !errors.Is(err, ircmsg.ErrorLineIsEmpty) {
				c.s.count("hostile_lines")
			}
			continue
		}
		c.s.mu.Lock()
		err = c.handle(&msg)
		c.s.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// write sends what waits, as fast as the server allows, and looks at the clock now
// and then.
func (c *conn) write(ctx context.Context) {
	var buffer []byte
	for {
		c.s.mu.Lock()
		now := time.Now()
		if !now.Before(c.tickAt) {
			c.tickAt = now.Add(tickEvery)
			if err := c.tick(now); err != nil {
				c.goneWhy = err
				c.s.mu.Unlock()
				_ = c.net.Close()
				return
			}
		}
		var wait time.Duration
		buffer, wait = c.take(buffer[:0], now)
		c.s.mu.Unlock()
		if len(buffer) > 0 {
			err := c.net.SetWriteDeadline(now.Add(writeTimeout))
			if err == nil {
				_, err = c.net.Write(buffer)
			}
			if err != nil {
				_ = c.net.Close()
				return
			}
			continue
		}
		timer := time.NewTimer(min(wait, tickEvery))
		select {
		case <-c.wake:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// tick does what is due.
func (c *conn) tick(now time.Time) error {
	if c.registered.IsZero() {
		return c.tickHandshake(now)
	}
	silent := now.Sub(c.heardAt())
	switch interval, timeout := c.s.cfg.PingInterval, c.s.cfg.PingTimeout; {
	case silent < interval:
		c.pingSent = time.Time{}
	case c.pingSent.IsZero():
		c.pingSent = now
		c.urgent("PING", "anybridge")
	case now.Sub(c.pingSent) > timeout:
		return fmt.Errorf("the server has been silent for %s", silent.Round(time.Second))
	}
	c.tickConfirm(now)
	c.tickNick(now)
	c.tickChannels(now)
	c.s.tickCalls(now)
	return nil
}

func (c *conn) heardAt() time.Time { return time.Unix(0, c.heard.Load()) }

func (c *conn) log() *slog.Logger { return c.s.log }

// quitWith tells the server that we leave, before anything else that waits.
func (c *conn) quitWith(reason string) {
	c.urgent("QUIT", reason)
}

func (s *session) count(name string) {
	s.mu.Lock()
	s.counters[name]++
	s.mu.Unlock()
}
