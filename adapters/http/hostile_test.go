package rest

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// traps are listeners on several loopback addresses and one port. They answer
// every request, and keep the addresses at which a connection came.
type traps struct {
	port string

	mu   sync.Mutex
	came []string
}

func newTraps(t *testing.T, hosts ...string) *traps {
	t.Helper()
	for range 20 {
		listeners, port := listenAll(hosts)
		if listeners == nil {
			continue // some other program has the port at one of the addresses
		}
		tr := &traps{port: port}
		for _, l := range listeners {
			s := &http.Server{
				ReadHeaderTimeout: time.Minute,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Connection", "close")
					_, _ = io.WriteString(w, "5")
				}),
				ConnState: func(c net.Conn, state http.ConnState) {
					if state == http.StateNew {
						tr.mu.Lock()
						defer tr.mu.Unlock()
						host, _, _ := net.SplitHostPort(c.LocalAddr().String())
						tr.came = append(tr.came, host)
					}
				},
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = s.Serve(l)
			}()
			t.Cleanup(func() {
				s.Close()
				<-done
			})
		}
		return tr
	}
	t.Fatal("no port is free on all loopback addresses")
	return nil
}

// listenAll listens on one port of all hosts, or returns nothing.
func listenAll(hosts []string) (listeners []net.Listener, port string) {
	port = "0"
	for _, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, port))
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return nil, ""
		}
		listeners = append(listeners, l)
		port = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	}
	return listeners, port
}

// take returns where connections came since the last time.
func (tr *traps) take() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	came := tr.came
	tr.came = nil
	return came
}

func loopbackHosts() []string { return []string{"127.0.0.1", "127.0.0.2", "127.1.2.3", "::1"} }

// hostileNames are names that mean forbidden addresses in every way that DNS has.
func hostileNames(t *testing.T) *dnsServer {
	d := newDNS(t)
	for name, address := range map[string]string{
		"loopback.test": "127.0.0.1", "loopback2.test": "127.0.0.2", "loopback3.test": "127.1.2.3", "loopback6.test": "::1",
		"mapped.test": "::ffff:127.0.0.1", "compatible.test": "::127.0.0.1", "translated.test": "::ffff:0:127.0.0.1",
		"zero.test": "0.0.0.0", "zero6.test": "::", "broadcast.test": "255.255.255.255", "multicast.test": "224.0.0.1", "multicast6.test": "ff02::1",
		"private.test": "10.0.0.1", "private172.test": "172.16.0.1", "private192.test": "192.168.0.1", "shared.test": "100.64.0.1",
		"linklocal.test": "169.254.1.1", "linklocal6.test": "fe80::1", "unique.test": "fd00::1", "site.test": "fec0::1",
		"metadata.test": "169.254.169.254", "metadata6.test": "fd00:ec2::254", "azure.test": "168.63.129.16", "alibaba.test": "100.100.100.200",
		"nat64.test": "64:ff9b::7f00:1", "localnat64.test": "64:ff9b:1::7f00:1", "sixtofour.test": "2002:7f00:1::1",
		"teredo.test": "2001:0:7f00:1:0:0:80ff:fffe", "isatap.test": "2606:4700::5efe:7f00:1",
		"documentation.test": "192.0.2.1", "documentation6.test": "2001:db8::1", "benchmark.test": "198.18.0.1", "reserved.test": "240.0.0.1",
		"127.0.0.1.nip.test": "127.0.0.1", "xn--2vg.test": "127.0.0.1", "under_score.test": "127.0.0.1",
	} {
		d.set(name, addrs(address))
	}
	d.set("both.test", addrs("127.0.0.1", "10.0.0.1", "::1", "::ffff:127.0.0.2"))
	d.set("many.test", addrs("127.0.0.1", "127.0.0.2", "127.1.2.3", "0.0.0.0", "10.0.0.1", "169.254.169.254"))
	d.alias("alias.test", "loopback.test")
	d.alias("chain.test", "chain2.test")
	d.alias("chain2.test", "alias.test")
	d.alias("outside.test", "localhost")
	return d
}

// What a form of a URL comes to.
const (
	atOnce = true  // registration refuses it
	later  = false // it is a name: the connection is refused, or the look-up fails
)

// hostileURLs lead, or would in the eyes of some parser or resolver, to an address
// inside. PORT is the traps' port.
func hostileURLs() map[string]bool {
	return map[string]bool{
		// Plain addresses inside.
		"http://127.0.0.1:PORT/":         atOnce,
		"https://127.0.0.1:PORT/":        atOnce,
		"http://127.0.0.2:PORT/":         atOnce,
		"http://127.1.2.3:PORT/":         atOnce,
		"http://0.0.0.0:PORT/":           atOnce,
		"http://10.0.0.1:PORT/":          atOnce,
		"http://172.31.255.255:PORT/":    atOnce,
		"http://192.168.1.1:PORT/":       atOnce,
		"http://100.64.0.1:PORT/":        atOnce,
		"http://192.0.0.192/opc/v2/":     atOnce,
		"http://192.0.2.1:PORT/":         atOnce,
		"http://198.18.0.1:PORT/":        atOnce,
		"http://224.0.0.1:PORT/":         atOnce,
		"http://240.0.0.1:PORT/":         atOnce,
		"http://255.255.255.255:PORT/":   atOnce,
		"http://169.254.169.254/latest/": atOnce,
		"http://168.63.129.16/machine/":  atOnce,
		"http://100.100.100.200/latest/": atOnce,
		"http://[::1]:PORT/":             atOnce,
		"http://[0:0:0:0:0:0:0:1]:PORT/": atOnce,
		"http://[::]:PORT/":              atOnce,
		"http://[fc00::1]:PORT/":         atOnce,
		"http://[fd00:ec2::254]/":        atOnce,
		"http://[fd20:ce::254]/":         atOnce,
		"http://[fec0::1]:PORT/":         atOnce,
		"http://[ff02::1]:PORT/":         atOnce,
		"http://[2001:db8::1]:PORT/":     atOnce,
		"http://[100::1]:PORT/":          atOnce,
		// IPv4 inside IPv6.
		"http://[::ffff:127.0.0.1]:PORT/":      atOnce,
		"http://[::ffff:7f00:1]:PORT/":         atOnce,
		"http://[::FFFF:127.0.0.2]:PORT/":      atOnce,
		"http://[0:0:0:0:0:ffff:7f00:1]:PORT/": atOnce,
		"http://[::ffff:0.0.0.0]:PORT/":        atOnce,
		"http://[::127.0.0.1]:PORT/":           atOnce,
		"http://[::ffff:0:127.0.0.1]:PORT/":    atOnce,
		"http://[64:ff9b::127.0.0.1]:PORT/":    atOnce,
		"http://[64:ff9b:1::7f00:1]:PORT/":     atOnce,
		"http://[2002:7f00:1::1]:PORT/":        atOnce,
		"http://[2001:0:7f00:1::80ff:fffe]/":   atOnce,
		"http://[2606:4700::5efe:7f00:1]/":     atOnce,
		"http://[fe80::5efe:127.0.0.1]:PORT/":  atOnce,
		// Zones.
		"http://[fe80::1%25lo]:PORT/":          atOnce,
		"http://[::1%25lo]:PORT/":              atOnce,
		"http://[::1%lo]:PORT/":                atOnce,
		"http://[::1%251]:PORT/":               atOnce,
		"http://[::ffff:127.0.0.1%25lo]:PORT/": atOnce,
		"http://[2606:4700::1%25lo]:PORT/":     atOnce,
		"http://[fe80::1%25%0d%0aX:y]:PORT/":   atOnce,
		// Other spellings of IPv4.
		"http://2130706433:PORT/":      atOnce,
		"http://0x7f000001:PORT/":      atOnce,
		"http://0X7F000001:PORT/":      atOnce,
		"http://017700000001:PORT/":    atOnce,
		"http://0177.0.0.1:PORT/":      atOnce,
		"http://0x7f.0.0.1:PORT/":      atOnce,
		"http://127.0.0.0x1:PORT/":     atOnce,
		"http://127.1:PORT/":           atOnce,
		"http://127.0.1:PORT/":         atOnce,
		"http://127.000.000.001:PORT/": atOnce,
		"http://0:PORT/":               atOnce,
		"http://0x:PORT/":              atOnce,
		"http://256.256.256.256:PORT/": atOnce,
		"http://383.0.0.1:PORT/":       atOnce,
		"http://127.0.0.1.:PORT/":      atOnce,
		"http://127.0.0.1..:PORT/":     atOnce,
		"http://1.127.0.0.1:PORT/":     atOnce,
		"http://+127.0.0.1:PORT/":      atOnce,
		"http://0o177.0.0.1:PORT/":     atOnce,
		"http://[127.0.0.1]:PORT/":     atOnce,
		"http://[::1].:PORT/":          atOnce,
		"http://[[::1]]:PORT/":         atOnce,
		"http://[loopback.test]:PORT/": atOnce,
		"http://::1:PORT/":             atOnce,
		// Other digits and dots, and escapes.
		"http://127\u30020\u30020\u30021:PORT/":                atOnce,
		"http://127\uff0e0\uff0e0\uff0e1:PORT/":                atOnce,
		"http://127\uff610\uff610\uff611:PORT/":                atOnce,
		"http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460:PORT/": atOnce,
		"http://\uff11\uff12\uff17.0.0.1:PORT/":                atOnce,
		"http://\u0661\u0662\u0667.0.0.1:PORT/":                atOnce,
		"http://\u217cocalhost:PORT/":                          atOnce,
		"http://loc\u00adalhost:PORT/":                         atOnce,
		"http://%31%32%37.0.0.1:PORT/":                         atOnce,
		"http://%6c%6f%63%61%6c%68%6f%73%74:PORT/":             atOnce,
		"http://127.0.0.1%2e:PORT/":                            atOnce,
		"http://%e2%91%a0%e2%91%a1%e2%91%a6.0.0.1:PORT/":       atOnce,
		"http://127.0.0.1%00.public.test:PORT/":                atOnce,
		"http://127.0.0.1%25.public.test:PORT/":                atOnce,
		// Tricks with the parts of a URL.
		"http://public.test@127.0.0.1:PORT/":     atOnce,
		"http://public.test:80@127.0.0.1:PORT/":  atOnce,
		"http://public.test%40127.0.0.1:PORT/":   atOnce,
		"http://public.test\\@127.0.0.1:PORT/":   atOnce,
		"http://127.0.0.1:PORT\\@public.test/":   atOnce,
		"http://public.test:80\\127.0.0.1:PORT/": atOnce,
		"http:\\\\127.0.0.1:PORT\\":              atOnce,
		"http:/127.0.0.1:PORT/":                  atOnce,
		"http:127.0.0.1:PORT/":                   atOnce,
		"http:///127.0.0.1:PORT/":                atOnce,
		"//127.0.0.1:PORT/":                      atOnce,
		"127.0.0.1:PORT":                         atOnce,
		"/127.0.0.1":                             atOnce,
		"http://127.0.0.1:PORT#@public.test/":    atOnce,
		"http://127.0.0.1:PORT?@public.test/":    atOnce,
		"http://127.0.0.1:PORT/#@public.test/":   atOnce,
		"http://127.0.0.1:PORT:80/":              atOnce,
		"http://127.0.0.1:0PORT/":                atOnce,
		"http://127.0.0.1:-1/":                   atOnce,
		"http://127.0.0.1:65536/":                atOnce,
		"http://127.0.0.1 :PORT/":                atOnce,
		" http://127.0.0.1:PORT/":                atOnce,
		"http://127.0.0.1\t:PORT/":               atOnce,
		"ht\ntp://127.0.0.1:PORT/":               atOnce,
		"http://127.0.0.1:PORT/\r\nHost: x":      atOnce,
		"http://127.0.0.1\x00.public.test:PORT/": atOnce,
		"http://\x00127.0.0.1:PORT/":             atOnce,
		"http://a,127.0.0.1:PORT/":               atOnce,
		"http://127.0.0.1;public.test:PORT/":     atOnce,
		"http://*:PORT/":                         atOnce,
		"http://$(hostname):PORT/":               atOnce,
		"http://.:PORT/":                         atOnce,
		"http://..:PORT/":                        atOnce,
		"http://.localhost:PORT/":                atOnce,
		"http://a..localhost:PORT/":              atOnce,
		// Other schemes.
		"ftp://127.0.0.1:PORT/":         atOnce,
		"file:///etc/passwd":            atOnce,
		"gopher://127.0.0.1:PORT/_POST": atOnce,
		"dict://127.0.0.1:PORT/":        atOnce,
		"unix:///var/run/docker.sock":   atOnce,
		"http+unix://127.0.0.1:PORT/":   atOnce,
		"jar:http://127.0.0.1:PORT/!/":  atOnce,
		"data:text/plain,x":             atOnce,
		"javascript:alert(1)":           atOnce,
		"":                              atOnce,
		// Names that always mean an address inside.
		"http://localhost:PORT/":                              atOnce,
		"http://LOCALHOST:PORT/":                              atOnce,
		"http://localhost.:PORT/":                             atOnce,
		"http://a.b.localhost:PORT/":                          atOnce,
		"http://localhost.localdomain:PORT/":                  atOnce,
		"http://localhost6:PORT/":                             atOnce,
		"http://ip6-localhost:PORT/":                          atOnce,
		"http://ip6-loopback:PORT/":                           atOnce,
		"http://metadata:PORT/":                               atOnce,
		"http://metadata.google.internal/computeMetadata/v1/": atOnce,
		"http://METADATA.google.internal./":                   atOnce,
		"http://instance-data/latest/":                        atOnce,
		// Names that a look-up leads inside.
		"http://loopback.test:PORT/":                       later,
		"http://LoopBack.Test.:PORT/":                      later,
		"https://loopback.test:PORT/":                      later,
		"http://loopback2.test:PORT/":                      later,
		"http://loopback3.test:PORT/":                      later,
		"http://loopback6.test:PORT/":                      later,
		"http://mapped.test:PORT/":                         later,
		"http://compatible.test:PORT/":                     later,
		"http://translated.test:PORT/":                     later,
		"http://zero.test:PORT/":                           later,
		"http://zero6.test:PORT/":                          later,
		"http://broadcast.test:PORT/":                      later,
		"http://multicast.test:PORT/":                      later,
		"http://multicast6.test:PORT/":                     later,
		"http://private.test:PORT/":                        later,
		"http://private172.test:PORT/":                     later,
		"http://private192.test:PORT/":                     later,
		"http://shared.test:PORT/":                         later,
		"http://linklocal.test:PORT/":                      later,
		"http://linklocal6.test:PORT/":                     later,
		"http://unique.test:PORT/":                         later,
		"http://site.test:PORT/":                           later,
		"http://metadata.test/latest/":                     later,
		"http://metadata6.test/latest/":                    later,
		"http://azure.test/machine/":                       later,
		"http://alibaba.test/latest/":                      later,
		"http://nat64.test:PORT/":                          later,
		"http://localnat64.test:PORT/":                     later,
		"http://sixtofour.test:PORT/":                      later,
		"http://teredo.test:PORT/":                         later,
		"http://isatap.test:PORT/":                         later,
		"http://documentation.test:PORT/":                  later,
		"http://documentation6.test:PORT/":                 later,
		"http://benchmark.test:PORT/":                      later,
		"http://reserved.test:PORT/":                       later,
		"http://127.0.0.1.nip.test:PORT/":                  later,
		"http://xn--2vg.test:PORT/":                        later,
		"http://under_score.test:PORT/":                    later,
		"http://both.test:PORT/":                           later,
		"http://many.test:PORT/":                           later,
		"http://alias.test:PORT/":                          later,
		"http://chain.test:PORT/":                          later,
		"http://outside.test:PORT/":                        later,
		"http://nowhere.test:PORT/":                        later,
		"http://loopback.test:PORT/?x=http://public.test/": later,
		"http://loopback.test:PORT#@public.test/":          later,
	}
}

func TestHostileURLsReachNothingInside(t *testing.T) {
	forms := hostileURLs()
	if len(forms) < 150 {
		t.Fatalf("only %d forms", len(forms))
	}
	inside := newTraps(t, loopbackHosts()...)
	c := newCallbacks(t, CallbackOptions{Resolver: hostileNames(t).resolver()})
	refused := 0
	for form, early := range forms {
		target := strings.ReplaceAll(form, "PORT", inside.port)
		err := c.CheckURL(target)
		if (err != nil) != early || err != nil && core.CodeOf(err) != core.CallbackForbidden {
			t.Errorf("%q: registration says %v", form, err)
		}
		if early {
			refused++
		}
		// What is refused at registration is tried all the same: it may have been
		// registered under another policy.
		out := c.Send(context.Background(), eventAttempt(target))
		failed := core.CodeOf(out.Err)
		if out.Done || out.Gone || out.Ours || out.Status != 0 || failed != core.CallbackForbidden && (early || !isUnknown(out.Err)) {
			t.Errorf("%q: an event got %+v", form, out)
		}
		_, err = c.Invoke(context.Background(), registration(target), invocation())
		if core.CodeOf(err) != core.CallbackFailed {
			t.Errorf("%q: an invocation got %v", form, err)
		}
		if err != nil && strings.Contains(err.Error(), "127.") {
			t.Errorf("%q: the caller learns an address: %v", form, err)
		}
		if came := inside.take(); len(came) > 0 {
			t.Errorf("%q: connections came to %v", form, came)
		}
	}
	t.Logf("%d forms: %d refused at registration, %d when dialed", len(forms), refused, len(forms)-refused)
}

// isUnknown reports whether an attempt ended because a name has no address.
func isUnknown(err error) bool {
	return core.CodeOf(err) == core.CallbackFailed && strings.Contains(err.Error(), "cannot be resolved")
}

// The traps do catch what reaches them: with the addresses allowed, each name comes
// through.
func TestTrapsCatch(t *testing.T) {
	inside := newTraps(t, loopbackHosts()...)
	c := newCallbacks(t, CallbackOptions{Resolver: hostileNames(t).resolver(), Policy: Policy{Allow: loopback()}})
	for name, want := range map[string]string{
		"loopback.test": "127.0.0.1", "loopback3.test": "127.1.2.3", "loopback6.test": "::1", "mapped.test": "127.0.0.1", "chain.test": "127.0.0.1",
		"127.0.0.2": "127.0.0.2", "[::1]": "::1", "localhost": "127.0.0.1",
	} {
		out := c.Send(context.Background(), eventAttempt("http://"+name+":"+inside.port+"/"))
		came := inside.take()
		if !out.Done || len(came) == 0 || came[len(came)-1] != want && name != "localhost" {
			t.Errorf("%s: got %+v, connections to %v", name, out, came)
		}
	}
}

// A name that means an allowed address when it is registered and looked up first,
// and a forbidden one afterwards.
func TestRebindingNames(t *testing.T) {
	hosts := newTraps(t, "127.0.0.3", "127.0.0.1", "::1")
	d := newDNS(t)
	c := newCallbacks(t, CallbackOptions{Resolver: d.resolver(), Policy: Policy{Allow: prefixes("127.0.0.3/32")}})
	send := func(name string) (arrived bool, came []string) {
		t.Helper()
		target := "http://" + name + ":" + hosts.port + "/"
		if err := c.CheckURL(target); err != nil {
			t.Fatal(err)
		}
		out := c.Send(context.Background(), eventAttempt(target))
		if !out.Done && core.CodeOf(out.Err) != core.CallbackForbidden {
			t.Errorf("%s: got %+v", name, out)
		}
		return out.Done, hosts.take()
	}
	d.set("rebind.test", addrs("127.0.0.3"), addrs("127.0.0.1"), addrs("::1"), addrs("127.0.0.3"))
	for i, want := range []bool{true, false, false, true} {
		if arrived, came := send("rebind.test"); arrived != want || strings.Join(came, " ") != map[bool]string{true: "127.0.0.3"}[want] {
			t.Errorf("attempt %d: arrived is %v, connections came to %v", i+1, arrived, came)
		}
	}
	d.set("mixed.test", addrs("127.0.0.1", "::1", "127.0.0.3", "10.0.0.1"))
	d.set("turning.test", addrs("127.0.0.3"), addrs("127.0.0.1"))
	d.alias("alias.test", "turning.test")
	for name, wants := range map[string][]bool{"mixed.test": {true, true, true}, "alias.test": {true, false, false}} {
		for i, want := range wants {
			if arrived, came := send(name); arrived != want || strings.Join(came, " ") != map[bool]string{true: "127.0.0.3"}[want] {
				t.Errorf("%s, attempt %d: arrived is %v, connections came to %v", name, i+1, arrived, came)
			}
		}
	}
}
