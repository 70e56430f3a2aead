package rest

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
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
	public := newAddresses(nil)
	for _, a := range []string{"1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"} {
		if public.check(netip.MustParseAddr(a)) != nil {
			t.Errorf("%s is public", a)
		}
	}
	for _, a := range []string{
		"127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.1", "198.18.0.1",
		"224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1",
		"100.100.100.200", "168.63.129.16", "192.0.0.192",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1",
		"fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fec0::1", "ff02::1", "100::1", "5f00::1",
		"2001:db8::1", "3fff::1", "2002:7f00:1::", "2002:808:808::", "2001::1", "2001:10::1", "2001:20::1", "::ffff:0:127.0.0.1", "::8.8.8.8",
		"2606:4700::5efe:127.0.0.1", "2606:4700::200:5efe:10.0.0.1",
	} {
		if public.check(netip.MustParseAddr(a)) == nil {
			t.Errorf("%s is not public", a)
		}
	}
	if public.check(netip.Addr{}) == nil {
		t.Error("no address is not public")
	}
	if (&policy{addresses: public}).control("udp4", "8.8.8.8:53", nil) == nil || (&policy{addresses: public}).control("tcp4", "nonsense", nil) == nil {
		t.Error("control lets through what it does not understand")
	}
}

func TestAllowedNetworks(t *testing.T) {
	allowed := newAddresses(prefixes("10.1.0.0/16", "fe80::/10", "::ffff:10.2.0.0/112", "::1/128"))
	for a, ok := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.9": true, "10.3.0.1": false, "fe80::1%eth0": true, "::1": true, "::": false,
		"64:ff9b::a01:203": false, "2606:4700::5efe:10.1.0.1": true, "2606:4700::5efe:10.3.0.1": false,
	} {
		if got := allowed.check(netip.MustParseAddr(a)) == nil; got != ok {
			t.Errorf("%s: allowed is %v, want %v", a, got, ok)
		}
	}
}

// Where packets may be translated or tunneled to an IPv4 address, that one must be
// allowed, too.
func TestIPv4InsideAllowedIPv6(t *testing.T) {
	for _, tt := range []struct{ allow, good, bad string }{
		{"64:ff9b::/96", "64:ff9b::8.8.8.8", "64:ff9b::127.0.0.1"},
		{"64:ff9b:1::/48", "64:ff9b:1:808:8:800::", "64:ff9b:1:7f00:0:100::"},
		{"64:ff9b:1:ff00::/56", "64:ff9b:1:ff08:8:808::", "64:ff9b:1:ff7f:0:1::"},
		{"64:ff9b:1:ffff::/64", "64:ff9b:1:ffff:8:808:800::", "64:ff9b:1:ffff:7f:0:100::"},
		{"64:ff9b:1:2:3:4::/96", "64:ff9b:1:2:3:4:8.8.8.8", "64:ff9b:1:2:3:4:127.0.0.1"},
		{"64:ff9b:1::8.8.8.8/128", "64:ff9b:1::8.8.8.8", "64:ff9b:1::8.8.8.9"},
		{"::/96", "::8.8.8.8", "::127.0.0.1"},
		{"::ffff:0:0:0/96", "::ffff:0:8.8.8.8", "::ffff:0:10.0.0.1"},
		{"2002::/16", "2002:808:808::1", "2002:7f00:1::1"},
		{"2001::/32", "2001:0:808:808:0:0:f7f7:f7f7", "2001:0:808:808:0:0:80ff:fffe"},
		{"2001::/32", "2001:0:808:808:0:0:f7f7:f7f7", "2001:0:7f00:1:0:0:f7f7:f7f7"},
		{"fe80::/10", "fe80::5efe:8.8.8.8", "fe80::5efe:127.0.0.1"},
		{"::/0", "fd00::1", "64:ff9b:1::8.8.8.8"}, // nobody said how long the translator's prefix is
		{"64:ff9b:1::/50", "2606:4700::1", "64:ff9b:1::8.8.8.8"},
	} {
		a := newAddresses(prefixes(tt.allow))
		if a.check(netip.MustParseAddr(tt.good)) != nil {
			t.Errorf("with %s, %s is not allowed", tt.allow, tt.good)
		}
		if a.check(netip.MustParseAddr(tt.bad)) == nil {
			t.Errorf("with %s, %s is allowed", tt.allow, tt.bad)
		}
	}
}

func TestCheckURL(t *testing.T) {
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: prefixes("10.1.0.0/16", "fe80::/10")}})
	for raw, ok := range map[string]bool{
		"https://example.org/hook?x=1":                        true,
		"HTTP://EXAMPLE.org":                                  true,
		"http://example.org.:8080/":                           true,
		"http://xn--bcher-kva.example/":                       true,
		"http://my_app:8000/":                                 true,
		"http://app.internal/%C3%A4?%20":                      true,
		"http://10.1.2.3:8000/":                               true,
		"http://[2606:4700:4700::1111]/":                      true,
		"http://[::ffff:10.1.2.3]/":                           true,
		"http://[fe80::1%25eth0]/":                            true,
		"http://example.org/#fragment":                        true,
		"http://user@example.org/":                            false,
		"http://user:pass@example.org/":                       false,
		"http://bücher.example/":                              false,
		"http://example.org/ä":                                false,
		"http://example.org/?a b":                             false,
		"http://example.org/" + strings.Repeat("x", maxURL):   false,
		"http://" + strings.Repeat("x", 64) + ".example/":     false,
		"http://" + strings.Repeat("x.", 127) + "example/":    false,
		"http://[fe80::1%25" + strings.Repeat("e", 64) + "]/": false,
		"http://[fe80::1%25eth0%0d%0aX:y]/":                   false,
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

func eventAttempt(target string) *engine.Attempt {
	return &engine.Attempt{
		ID: "evt_1-sub_1", Number: 1, Endpoint: &core.Endpoint{URL: target, Keys: []core.Secret{DeriveKey(shopToken)}},
		Event: &core.Event{ID: "evt_1", Topic: core.Address{Backend: "wamp", Name: "com.shop.order"}, Payload: core.Payload{Args: []byte(`["apples"]`)}},
	}
}

func registration(target string) *core.Registration {
	return &core.Registration{Owner: "shop", Pattern: core.Pattern{Address: core.Address{Backend: "wamp", Name: "com.shop.p"}, Match: core.Exact}, Endpoint: core.Endpoint{URL: target, Keys: []core.Secret{DeriveKey(shopToken)}}}
}

func invocation() *core.Invocation {
	return &core.Invocation{ID: "inv_1", Procedure: core.Address{Backend: "wamp", Name: "com.shop.p"}, Payload: core.Payload{Args: []byte(`[2, 3]`)}}
}
