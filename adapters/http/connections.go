package rest

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// connections bounds how many clients are connected: in all, and from one address
// (an IPv6 /64). One too many is told so and closed.
type connections struct {
	maxAll, maxAddress int
	refused            atomic.Int64

	mu        sync.Mutex
	all       int
	addresses map[netip.Prefix]int // those that are connected
}

func newConnections(all, perAddress int) *connections {
	return &connections{maxAll: all, maxAddress: perAddress, addresses: map[netip.Prefix]int{}}
}

// watch is the server's ConnState. The server calls it for a new connection before
// it accepts the next, and exactly once when it is done with one.
func (c *connections) watch(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if !c.add(conn) {
			c.refused.Add(1)
			refuse(conn)
		}
	case http.StateClosed, http.StateHijacked:
		c.remove(conn)
	case http.StateActive, http.StateIdle:
	}
}

// add counts a connection, also one too many until it is closed.
func (c *connections) add(conn net.Conn) bool {
	from := network(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all++
	c.addresses[from]++
	return c.all <= c.maxAll && (c.addresses[from] <= c.maxAddress || !from.IsValid())
}

func (c *connections) remove(conn net.Conn) {
	from := network(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.addresses[from]--; c.addresses[from] <= 0 {
		delete(c.addresses, from)
	}
}

func (c *connections) now() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

// network is the address that a connection comes from, or the /64 that it is in;
// invalid if it does not come from the network.
func network(conn net.Conn) netip.Prefix {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	a := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// refuse says why, which takes no time into the empty buffer of a new connection,
// and closes it. On TLS there is no saying anything before the handshake.
func refuse(conn net.Conn) {
	if _, secure := conn.(*tls.Conn); !secure {
		_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\nConnection: close\r\n\r\ntoo many connections\n")
	}
	_ = conn.Close()
}
