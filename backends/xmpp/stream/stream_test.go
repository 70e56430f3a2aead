package stream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a server that says what the test wants.
type fake struct {
	addr string
	next func(n int) string // what the n-th connection is answered with once it is logged in
}

// greeting is what a harmless server says until the session is there.
const greeting = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' id='1'>`

func (f *fake) start(t *testing.T, greet func(n int, conn net.Conn) bool) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	var work sync.WaitGroup
	work.Go(func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
				if greet(n, conn) {
					if _, err := io.WriteString(conn, f.next(n)); err == nil {
						_, _ = io.Copy(io.Discard, conn)
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		work.Wait()
	})
}

// welcome is a server's part until a session is there.
func welcome(_ int, conn net.Conn) bool {
	r := bufio.NewReader(conn)
	say := func(s string) { _, _ = io.WriteString(conn, s) }
	wait := func(s string) string {
		var seen bytes.Buffer
		for !strings.Contains(seen.String(), s) {
			c, err := r.ReadByte()
			if err != nil {
				return ""
			}
			seen.WriteByte(c)
		}
		return seen.String()
	}
	sasl := func(end string) []byte {
		_, text, _ := strings.Cut(strings.TrimSuffix(wait(end), end), ">")
		data, _ := base64.StdEncoding.DecodeString(text)
		return data
	}
	wait("streams'>")
	say(greeting + `<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1</mechanism></mechanisms></stream:features>`)
	first := strings.TrimPrefix(string(sasl("</auth>")), "n,,")
	_, nonce, _ := strings.Cut(first, ",r=")
	s := &scram{hash: scramHash("SCRAM-SHA-1"), password: "x", binding: "n", first: first, nonce: nonce}
	challenge := []byte("r=" + nonce + "server,s=c2FsdA==,i=1")
	if _, err := s.answer(challenge); err != nil {
		return false
	}
	say("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + encode(challenge) + "</challenge>")
	sasl("</response>")
	say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + encode([]byte("v="+base64.StdEncoding.EncodeToString(s.server))) + "</success>")
	wait("streams'>")
	say(greeting + `<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>`)
	wait("</iq>")
	say(`<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>a@b/c</jid></bind></iq>`)
	return true
}

func client(t *testing.T, addr string, change func(*Options)) *Client {
	o := Options{
		JID: jid.MustParse("a@b"), Password: core.Secret("x"), Server: addr, Mode: NoTLS,
		MaxSend: 1 << 18, MaxReceive: 1 << 16, MaxQueue: 100, Keepalive: time.Second, Log: slog.New(slog.DiscardHandler),
		OnFresh: func() {}, OnResumed: func() {}, OnLost: func() {}, OnStanza: func(*Element) {},
	}
	if change != nil {
		change(&o)
	}
	c := New(o)
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// Whatever a server sends costs a bounded amount, and the session is made anew.
func TestHostileStanzas(t *testing.T) {
	bombs := map[string]string{
		"an endless name":      "<" + strings.Repeat("a", 10<<20),
		"an endless text":      "<message><body>" + strings.Repeat("a", 10<<20),
		"an endless attribute": "<message a='" + strings.Repeat("a", 10<<20),
		"many attributes":      "<message " + attributes(1000) + "/>",
		"deep":                 strings.Repeat("<a>", 1<<20),
		"wide":                 "<message>" + strings.Repeat("<a/>", 1<<20),
		"pieces":               "<message>" + strings.Repeat("a<b/>", 1<<20),
		"entities":             `<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><message>&b;</message>`,
		"an unknown entity":    `<message><body>&lol;</body></message>`,
		"a comment":            `<message><!-- hello --></message>`,
		"an instruction":       `<?php exit ?>`,
		"an end too many":      `<message></message></message>`,
		"not XML":              "\x00\x01\x02",
		"half a character":     "<message><body>\xc3</body></message>",
		"a control character":  "<message><body>&#1;</body></message>",
		"text":                 "hello",
		"an end":               "</stream:stream>",
		"an error":             "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
		"a false count":        "<a xmlns='urn:xmpp:sm:3' h='77'/>",
		"no count":             "<a xmlns='urn:xmpp:sm:3'/>",
	}
	for name, bomb := range bombs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{next: func(int) string { return bomb }}
			f.start(t, welcome)
			seen := make(chan *Element, 10)
			c := client(t, f.addr, func(o *Options) { o.OnStanza = func(e *Element) { seen <- e } })
			for deadline := time.Now().Add(20 * time.Second); c.Status().Counters["connections_lost"] == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the session goes on")
				}
			}
			if s := c.Status(); s.Reason == "" {
				t.Error("no reason")
			}
		})
	}
}

func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d='' ", i)
	}
	return b.String()
}

// A parser meets 10,000 streams that somebody has tampered with.
func TestHostileStreams(t *testing.T) {
	good := greeting + `<message from='a@b/c' id='1' xml:lang='en'><body>hi &amp; bye</body><x xmlns='urn:x'><y z='1'/></x></message>` +
		`<iq type='result' id='2'><query xmlns='jabber:iq:roster'/></iq><a xmlns='urn:xmpp:sm:3' h='3'/> <presence/></stream:stream>`
	random := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"<", ">", "/", "'", "&", "&#x10ffff;", "\x00", "\xff", "<!--", "<![CDATA[", "]]>", "xmlns:a='b'", "xmlns=''", "<a:b/>", strings.Repeat("<c>", 100), strings.Repeat("x", 5000)}
	for range 10_000 {
		s := good
		for range 1 + random.IntN(4) {
			i, j := random.IntN(len(s)+1), random.IntN(len(s)+1)
			switch random.IntN(3) {
			case 0:
				s = s[:i] + pieces[random.IntN(len(pieces))] + s[i:]
			case 1:
				s = s[:min(i, j)] + s[max(i, j):]
			case 2:
				s = s[:i] + s[j:]
			}
		}
		r := newReader(strings.NewReader(s), 1<<12)
		if err := r.header(); err != nil {
			continue
		}
		for n := 0; ; n++ {
			e, err := r.next()
			if err != nil {
				break
			}
			if n > 1000 {
				t.Fatalf("no end: %q", s)
			}
			// What was read can be written and read again.
			again := newReader(strings.NewReader("<s>"+e.String()+"</s>"), 1<<20)
			if _, err := again.d.Token(); err != nil {
				t.Fatal(err)
			}
			if e.Name.Space != "" {
				if _, err := again.next(); err != nil {
					t.Fatalf("%q became %q: %v", s, e, err)
				}
			}
		}
	}
}

func TestScram(t *testing.T) {
	// RFC 7677, 3.
	s := &scram{hash: scramHash("SCRAM-SHA-256"), user: "user", password: "pencil", binding: "n"}
	s.start()
	s.nonce = "rOprNGfwEbeRWgbNEkqO"
	s.first = "n=user,r=" + s.nonce
	answer, err := s.answer([]byte("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"))
	if err != nil || string(answer) != "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=" {
		t.Fatalf("%s %v", answer, err)
	}
	if err := s.verify([]byte("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "x", "v=", "v=AAAA", "e=other-error"} {
		if s.verify([]byte(bad)) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	for _, bad := range []string{"", "x", "r=short,s=AAAA,i=4096", "r=" + s.nonce + "x,s=AAAA,i=2147483647", "r=" + s.nonce + "x,s=AAAA,i=0", "r=" + s.nonce + "x,s=,i=1", "m=x,r=" + s.nonce + "x,s=AAAA,i=1", "r=" + s.nonce + ",s=AAAA,i=1"} {
		if _, err := s.answer([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
