package rest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsServer is a name server on loopback. What a name means, the test says.
type dnsServer struct {
	conn net.PacketConn

	mu    sync.Mutex
	names map[string]*dnsName
}

// dnsName has the answers to the look-ups of one name, in turn; the last stays.
type dnsName struct {
	cname   string
	answers [][]netip.Addr
	asked   map[dnsmessage.Type]int
}

func newDNS(t testing.TB) *dnsServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dnsServer{conn: conn, names: map[string]*dnsName{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.serve()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return d
}

// resolver asks this server alone.
func (d *dnsServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", d.conn.LocalAddr().String())
	}}
}

// set makes name mean the addresses; each look-up takes the next list.
func (d *dnsServer) set(name string, answers ...[]netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[name+"."] = &dnsName{answers: answers, asked: map[dnsmessage.Type]int{}}
}

// alias makes name another name of target.
func (d *dnsServer) alias(name, target string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[name+"."] = &dnsName{cname: target + "."}
}

func (d *dnsServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := d.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var query dnsmessage.Message
		if query.Unpack(buf[:n]) != nil || len(query.Questions) != 1 {
			continue
		}
		answer := d.answer(&query)
		if packed, err := answer.Pack(); err == nil {
			_, _ = d.conn.WriteTo(packed, from)
		}
	}
}

func (d *dnsServer) answer(query *dnsmessage.Message) dnsmessage.Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := query.Questions[0]
	out := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, RecursionAvailable: true, RecursionDesired: true},
		Questions: query.Questions,
	}
	name := q.Name
	found := d.names[strings.ToLower(name.String())]
	for found != nil && found.cname != "" {
		target := dnsmessage.MustNewName(found.cname)
		out.Answers = append(out.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}, Body: &dnsmessage.CNAMEResource{CNAME: target},
		})
		name, found = target, d.names[found.cname]
	}
	if found == nil {
		out.RCode = dnsmessage.RCodeNameError
		return out
	}
	turn := min(found.asked[q.Type], len(found.answers)-1)
	found.asked[q.Type]++
	for _, a := range found.answers[turn] {
		header := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}
		switch {
		case q.Type == dnsmessage.TypeA && a.Is4():
			out.Answers = append(out.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: a.As4()}})
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			out.Answers = append(out.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return out
}

func addrs(texts ...string) []netip.Addr {
	out := []netip.Addr{}
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}
