package quick

import (
	"bufio"
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const (
	prefix  = "/publish/"
	maxBody = 1000
)

func head(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

func recognise(text string) (*plain, bool) {
	p := &plain{header: http.Header{}}
	return p, p.recognise([]byte(text), prefix, maxBody)
}

func TestRecognise(t *testing.T) {
	plainHeads := []string{
		head("POST /publish/com.shop.ordered/ HTTP/1.1", "Host: bridge:8080", "Content-Length: 12"),
		head("POST /publish/redis:a_b-c~d/ HTTP/1.1", "host:[::1]:80", "CONTENT-LENGTH:0", "Connection: Keep-Alive"),
		head("POST /publish/a HTTP/1.1", "Host: a", "Authorization: Bearer x", "Content-Type: application/json; charset=utf-8",
			"Idempotency-Key: k", "User-Agent: python-urllib3/2", "Accept: */*", "Content-Length:  1000\t"),
	}
	plainHeads = append(plainHeads, // as they come from curl, Python's urllib3 and httpx, Node's fetch, and nginx
		head("POST /publish/a/ HTTP/1.1", "Host: 127.0.0.1:8080", "User-Agent: curl/7.88.1", "Accept: */*", "Authorization: Bearer x",
			"Content-Type: application/json", "Content-Length: 11"),
		head("POST /publish/a/ HTTP/1.1", "Host: 127.0.0.1:8080", "Accept-Encoding: identity", "Content-Length: 11", "User-Agent: anybridge-python/1",
			"Content-Type: application/json", "Authorization: Bearer x", "Idempotency-Key: 7f1c"),
		head("POST /publish/a/ HTTP/1.1", "Host: 127.0.0.1:8080", "Accept: */*", "Accept-Encoding: gzip, deflate", "Connection: keep-alive",
			"User-Agent: python-httpx/0.28.1", "Authorization: Bearer x", "Content-Length: 11", "Content-Type: application/json"),
		head("POST /publish/a/ HTTP/1.1", "host: 127.0.0.1:8080", "connection: keep-alive", "content-type: application/json", "authorization: Bearer x",
			"accept: */*", "accept-language: *", "sec-fetch-mode: cors", "user-agent: node", "accept-encoding: gzip, deflate", "content-length: 11"),
		head("POST /publish/a/ HTTP/1.1", "X-Real-IP: 127.0.0.1", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: https", "Host: bridge.example",
			"Content-Length: 11", "Authorization: Bearer x"),
	)
	for _, text := range plainHeads {
		if _, ok := recognise(text); !ok {
			t.Errorf("not recognised: %q", text)
		}
		agree(t, text)
	}
	post, host, length := "POST /publish/a/ HTTP/1.1", "Host: a", "Content-Length: 2"
	for _, text := range []string{
		"", "\r\n\r\n", "POST /publish/a/ HTTP/1.1\r\n\r\n",
		head("GET /publish/a/ HTTP/1.1", host, length),
		head("post /publish/a/ HTTP/1.1", host, length),
		head("POST /publish/a/ HTTP/1.0", host, length),
		head("POST /publish/a/ HTTP/1.1 ", host, length),
		head("POST  /publish/a/ HTTP/1.1", host, length),
		head("POST /publish/ HTTP/1.1 HTTP/1.1", host, length),
		head("POST /call/a/ HTTP/1.1", host, length),
		head("POST http://a/publish/a/ HTTP/1.1", host, length),
		head("POST /publish/a%2Fb/ HTTP/1.1", host, length),
		head("POST /publish/a/?x=1 HTTP/1.1", host, length),
		head("POST /publish/ä/ HTTP/1.1", host, length),
		head(post, length),
		head(post, host),
		head(post, host, host, length),
		head(post, host, length, length),
		head(post, host, "Content-Length: 2, 2"),
		head(post, host, "Content-Length: +2"),
		head(post, host, "Content-Length: -2"),
		head(post, host, "Content-Length: 0x2"),
		head(post, host, "Content-Length:"),
		head(post, host, "Content-Length: 1001"),
		head(post, host, "Content-Length: 99999999999999999999"),
		head(post, host, "Content-Length : 2"),
		head(post, host, " Content-Length: 2"),
		head(post, host, length, "Transfer-Encoding: chunked"),
		head(post, host, length, "transfer-encoding:identity"),
		head(post, host, length, "Expect: 100-continue"),
		head(post, host, length, "Upgrade: websocket"),
		head(post, host, length, "Connection: close"),
		head(post, host, length, "Connection: keep-alive, upgrade"),
		head(post, host, length, "Trailer: X"),
		head(post, host, length, "Content-Encoding: gzip"),
		head(post, host, length, "Authorization: a", "authorization: b"),
		head(post, host, length, "Accept: a", " folded"),
		head(post, host, length, "Accept: a\nTransfer-Encoding: chunked"),
		head(post, host, length, "Accept: a\rTransfer-Encoding: chunked"),
		head(post, host, length, "Accept: \x00"),
		head(post, host, length, "Accept: \x7f"),
		head(post, host, length, "Accept: ä"),
		head(post, host, length, "Accept"),
		head(post, host, length, ": x"),
		head(post, host, length, "X-Strange: x"),
		head(post, "Host: a b", length),
		head(post, "Host: a/b", length),
		head(post, "Host: a@b", length),
		head(post, "Host:", length),
		head(post, host, length) + "\r\n",
		strings.ReplaceAll(head(post, host, length), "\r\n", "\n"),
	} {
		if _, ok := recognise(text); ok {
			t.Errorf("recognised: %q", text)
		}
	}
}

// agree holds a recognised head against what net/http reads.
func agree(t *testing.T, text string) {
	t.Helper()
	p, ok := recognise(text)
	if !ok {
		return
	}
	body := strings.Repeat("x", int(p.length))
	in := bufio.NewReader(strings.NewReader(text + body + "rest"))
	r, err := http.ReadRequest(in)
	if err != nil {
		t.Fatalf("net/http refuses %q: %v", text, err)
	}
	header := maps.Clone(p.header)
	for name := range header {
		if !slices.Equal(header[name], r.Header[name]) {
			t.Errorf("%q: %s is %q, for net/http %q", text, name, header[name], r.Header[name])
		}
	}
	switch {
	case r.Method != http.MethodPost || r.Proto != "HTTP/1.1" || r.Close || len(r.TransferEncoding) > 0 || r.Trailer != nil:
		t.Errorf("%q: net/http reads %+v", text, r)
	case r.URL.Path != p.path || r.RequestURI != p.path || r.URL.RawPath != "" || r.URL.RawQuery != "" || r.URL.Host != "":
		t.Errorf("%q: path %q, for net/http %q", text, p.path, r.URL)
	case r.Host != p.host:
		t.Errorf("%q: host %q, for net/http %q", text, p.host, r.Host)
	case r.ContentLength != p.length:
		t.Errorf("%q: length %d, for net/http %d", text, p.length, r.ContentLength)
	case len(r.Header) != len(header):
		t.Errorf("%q: fields %v, for net/http %v", text, header, r.Header)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(r.Body); err != nil || got.String() != body {
		t.Errorf("%q: net/http reads the body %q, %v", text, got.String(), err)
	}
}

// Whatever is recognised, net/http reads in the same way.
func FuzzRecognise(f *testing.F) {
	for _, text := range []string{
		head("POST /publish/com.shop.ordered/ HTTP/1.1", "Host: bridge:8080", "Content-Length: 12", "Authorization: Bearer x"),
		head("POST /publish/a/ HTTP/1.1", "Host: a", "Content-Length: 2", "Transfer-Encoding: chunked"),
		head("POST /publish/a/ HTTP/1.1", "Host: [::1]:1", "Content-Length: 2", "Connection: keep-alive", "Accept: */*\t"),
		head("POST /publish/a/ HTTP/1.1", "Host: a", "Content-Length: 2", "Connection: close", "User-Agent: x"),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { agree(t, text) })
}
