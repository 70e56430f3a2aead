package rest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/core"
)

func decimal(n int) string { return strconv.Itoa(n) }

// Nothing that comes from outside, from another system or from an app, adds a line
// to a callback's header: the bytes on the wire are those of one request.
func TestNothingInjectsHeaders(t *testing.T) {
	const evil = "x\r\nX-Evil: 1\r\n\r\nPOST /evil HTTP/1.1\r\nHost: evil\x00\u00e9\u2028"
	heads := make(chan string, 100)
	address := rawServer(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		var head strings.Builder
		length := 0
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			head.WriteString(line)
			if n, ok := strings.CutPrefix(line, "Content-Length: "); ok {
				length, _ = strconv.Atoi(strings.TrimSpace(n))
			}
			if line == "\r\n" {
				break
			}
		}
		_, _ = io.CopyN(io.Discard, r, int64(length))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n5")
		rest, _ := io.ReadAll(r)
		heads <- head.String() + string(rest)
	})
	allowed := regexp.MustCompile(`^POST [!-~]+ HTTP/1\.1\r\n` +
		`Host: 127\.0\.0\.1:\d+\r\n` +
		`User-Agent: anybridge/[0-9A-Za-z._+-]+\r\n` +
		`Content-Length: \d+\r\n` +
		`Accept-Encoding: gzip\r\n` +
		`Content-Type: application/json\r\n` +
		`Webhook-Id: [0-9A-Za-z_-]{1,128}\r\n` +
		`Webhook-Signature: v1,[0-9A-Za-z+/]{43}=\r\n` +
		`Webhook-Timestamp: \d+\r\n` +
		`\r\n$`)
	for _, version := range []string{"1.2.3", evil, "", "\r\n"} {
		c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback()}, Version: version})
		for _, id := range []string{"evt_1", evil, "", "\x00", "\u00e9", strings.Repeat("x", 10000), "a b", "a,b", "\tx"} {
			a := eventAttempt("http://" + address + "/hook;x=1/%0d%0aX-Evil:%201/%00/..//?a=%0d%0aX-Evil:1&b=%20#f")
			a.ID, a.Event.ID, a.Event.Topic.Name, a.Event.Details = id, id, evil, []byte(`{"x": 1}`)
			if out := c.Send(context.Background(), a); !out.Done {
				t.Errorf("version %q, id %q: %+v", version, id, out)
				continue
			}
			if got := <-heads; !allowed.MatchString(got) {
				t.Errorf("version %q, id %q: got %q", version, id, got)
			}
			inv := invocation()
			inv.ID, inv.Procedure.Name = id, evil
			if _, err := c.Invoke(context.Background(), registration("http://"+address), inv); err != nil {
				t.Errorf("version %q, id %q: %v", version, id, err)
				continue
			}
			if got := <-heads; !allowed.MatchString(got) {
				t.Errorf("version %q, id %q: got %q", version, id, got)
			}
		}
	}
	// A URL cannot even be sent to when it holds such a thing as it is.
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback()}})
	for _, part := range []string{"\r\nX-Evil: 1", "\n", "\x00", " HTTP/1.1", "\u00e9", "\u2028", "\x7f", "\t"} {
		for _, target := range []string{"http://" + address + "/" + part, "http://" + address + "/?" + part, "http://" + address + "/#" + part, "http://" + address + part, "http://x" + part + "@" + address} {
			if out := c.Send(context.Background(), eventAttempt(target)); core.CodeOf(out.Err) != core.CallbackForbidden {
				t.Errorf("%q: got %+v", target, out)
			}
		}
	}
	if len(heads) > 0 {
		t.Errorf("%q was sent", <-heads)
	}
}

// The bridge's answers to what an app sent show it, but not as headers.
func TestAnswersAreNotInjected(t *testing.T) {
	f := newFixture(t, setup{})
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, f.URL+"/register/", strings.NewReader(`{"endpoints": {"com.shop.p\r\nX-Evil: 1": "http://h\r\nX-Evil: 1/"}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+shopToken)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 400 || resp.Header.Get("X-Evil") != "" {
		t.Errorf("got %d, %v", resp.StatusCode, resp.Header)
	}
}
