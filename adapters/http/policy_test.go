package rest

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

func prefixes(texts ...string) []netip.Prefix {
	out := []netip.Prefix{}
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func TestPolicy(t *testing.T) {
	public := newPolicy(Policy{})
	for _, a := range []string{"1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"} {
		if public.check(netip.MustParseAddr(a)) != nil {
			t.Errorf("%s is public", a)
		}
	}
	for _, a := range []string{
		"127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.1", "198.18.0.1",
		"224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1",
		"fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "2002:7f00:1::", "2001::1",
	} {
		if public.check(netip.MustParseAddr(a)) == nil {
			t.Errorf("%s is not public", a)
		}
	}
	if public.check(netip.Addr{}) == nil {
		t.Error("no address is not public")
	}
	allowed := newPolicy(Policy{Allow: prefixes("10.1.0.0/16", "fe80::/10", "::ffff:10.2.0.0/112", "64:ff9b::/96")})
	for a, ok := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.9": true, "10.3.0.1": false, "fe80::1%eth0": true,
		// Behind NAT64 the IPv4 address counts.
		"64:ff9b::808:808": true, "64:ff9b::7f00:1": false, "64:ff9b::a01:203": true,
	} {
		if got := allowed.check(netip.MustParseAddr(a)) == nil; got != ok {
			t.Errorf("%s: allowed is %v, want %v", a, got, ok)
		}
	}
	if public.control("udp4", "8.8.8.8:53", nil) == nil || public.control("tcp4", "nonsense", nil) == nil {
		t.Error("control lets through what it does not understand")
	}
}

func TestCheckURL(t *testing.T) {
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: prefixes("10.1.0.0/16")}})
	for raw, ok := range map[string]bool{
		"https://example.org/hook?x=1":   true,
		"HTTP://EXAMPLE.org":             true,
		"http://example.org:8080/":       true,
		"http://10.1.2.3:8000/":          true,
		"http://[2606:4700:4700::1111]/": true,
		"http://8.8.8.8./":               true,
		"http://10.2.2.3/":               false,
		"http://127.0.0.1/":              false,
		"http://localhost/":              false,
		"http://LOCALHOST.:80/":          false,
		"http://a.localhost/":            false,
		"http://[::1]/":                  false,
		"http://[::ffff:7f00:1]/":        false,
		"http://[fe80::1%25eth0]/":       false,
		"http://2130706433/":             false,
		"http://0x7f000001/":             false,
		"http://0177.0.0.1/":             false,
		"http://127.1/":                  false,
		"http://0/":                      false,
		"http://1.2.3.4.5/":              false,
		"ftp://example.org/":             false,
		"file:///etc/passwd":             false,
		"//example.org/":                 false,
		"http:example.org":               false,
		"http://":                        false,
		"http://:80/":                    false,
		"http://user@example.org/":       false,
		"http://user:pass@example.org/":  false,
		"http://example.org:0/":          false,
		"http://example.org:99999/":      false,
		"http://exa mple.org/":           false,
		"http://example.org/\r\nX: y":    false,
		"":                               false,
		"http://example.org/" + strings.Repeat("x", maxURL): false,
	} {
		err := c.CheckURL(raw)
		if (err == nil) != ok || err != nil && core.CodeOf(err) != core.CallbackForbidden {
			t.Errorf("CheckURL(%q): %v", raw, err)
		}
		if err != nil && strings.Contains(err.Error(), "pass@") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func newCallbacks(t testing.TB, o CallbackOptions) *Callbacks {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.DefaultBackend = "wamp"
	c, err := NewCallbacks(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A name that resolves to a forbidden address passes CheckURL, and is stopped when
// it is dialed.
func TestNamesAreCheckedWhenDialed(t *testing.T) {
	a := newApp(t, nil)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(a.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	c := newCallbacks(t, CallbackOptions{})
	transport := c.transport.Load()
	// The resolver says 127.0.0.1 for any name.
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}
	target := "http://rebind.example:" + port + "/"
	if err := c.CheckURL(target); err != nil {
		t.Fatal(err)
	}
	out := c.Send(context.Background(), eventAttempt(target))
	if out.Done || core.CodeOf(out.Err) != core.CallbackForbidden || out.Status != 0 {
		t.Errorf("got %+v", out)
	}
	_, err = c.Invoke(context.Background(), registration(target), invocation())
	if core.CodeOf(err) != core.CallbackFailed || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("got %v", err)
	}
	if len(a.got) != 0 {
		t.Error("the callback arrived")
	}
}

func TestSetPolicyTakesConnectionsAway(t *testing.T) {
	a := newApp(t, nil)
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback()}})
	if out := c.Send(context.Background(), eventAttempt(a.URL)); !out.Done {
		t.Fatalf("got %+v", out)
	}
	c.SetPolicy(Policy{})
	if out := c.Send(context.Background(), eventAttempt(a.URL)); core.CodeOf(out.Err) != core.CallbackForbidden {
		t.Errorf("got %+v", out)
	}
	// The name is not a literal: only a kept connection could get there.
	local := strings.Replace(a.URL, "127.0.0.1", "localhost", 1)
	if out := c.Send(context.Background(), eventAttempt(local)); core.CodeOf(out.Err) != core.CallbackForbidden {
		t.Errorf("got %+v", out)
	}
	c.SetPolicy(Policy{Allow: loopback()})
	if out := c.Send(context.Background(), eventAttempt(a.URL)); !out.Done {
		t.Errorf("got %+v", out)
	}
}

func TestProxy(t *testing.T) {
	asked := make(chan string, 10)
	var answer atomic.Int64
	answer.Store(http.StatusOK)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.String()
		w.WriteHeader(int(answer.Load()))
	}))
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Proxy: u}})
	if out := c.Send(context.Background(), eventAttempt("http://app.example/hook")); !out.Done {
		t.Errorf("got %+v", out)
	}
	if got := <-asked; got != "http://app.example/hook" {
		t.Errorf("the proxy was asked for %s", got)
	}
	if out := c.Send(context.Background(), eventAttempt("http://127.0.0.1/")); core.CodeOf(out.Err) != core.CallbackForbidden {
		t.Errorf("a literal address passed: %+v", out)
	}
	answer.Store(http.StatusProxyAuthRequired)
	if out := c.Send(context.Background(), eventAttempt("http://app.example/hook")); !out.Ours {
		t.Errorf("the proxy's refusal is the endpoint's fault: %+v", out)
	}
	proxy.Close()
	for _, target := range []string{"http://app.example/hook", "https://app.example/hook"} {
		if out := c.Send(context.Background(), eventAttempt(target)); !out.Ours {
			t.Errorf("a dead proxy is the endpoint's fault: %+v", out)
		}
	}
}

func eventAttempt(target string) *engine.Attempt {
	return &engine.Attempt{
		ID: "evt_1-sub_1", Number: 1, Endpoint: &core.Endpoint{URL: target, Key: DeriveKey(shopToken)},
		Event: &core.Event{ID: "evt_1", Topic: core.Address{Backend: "wamp", Name: "com.shop.order"}, Payload: core.Payload{Args: []byte(`["apples"]`)}},
	}
}

func registration(target string) *core.Registration {
	return &core.Registration{Owner: "shop", Pattern: core.Pattern{Address: core.Address{Backend: "wamp", Name: "com.shop.p"}, Match: core.Exact}, Endpoint: core.Endpoint{URL: target, Key: DeriveKey(shopToken)}}
}

func invocation() *core.Invocation {
	return &core.Invocation{ID: "inv_1", Procedure: core.Address{Backend: "wamp", Name: "com.shop.p"}, Payload: core.Payload{Args: []byte(`[2, 3]`)}}
}
