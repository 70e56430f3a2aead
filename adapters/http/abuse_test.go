package rest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// rawServer speaks to each connection as the test says, and hangs up afterwards.
func rawServer(t testing.TB, speak func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				speak(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// answering reads a request and then speaks.
func answering(speak func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		if _, err = io.Copy(io.Discard, r.Body); err == nil {
			speak(conn)
		}
	}
}

// saying answers with head and then tail again and again, for ever.
func saying(head, tail string) func(net.Conn) {
	return answering(func(conn net.Conn) {
		_, err := io.WriteString(conn, head)
		for many := strings.Repeat(tail, 1+4096/max(1, len(tail))); err == nil && tail != ""; {
			_, err = io.WriteString(conn, many)
		}
		silence(conn)
	})
}

// dripping answers with head and then a piece of tail now and then, for ever.
func dripping(head, tail string) func(net.Conn) {
	return answering(func(conn net.Conn) { trickle(conn, head, tail) })
}

func trickle(conn net.Conn, head, tail string) {
	_, err := io.WriteString(conn, head)
	for i := 0; err == nil; i++ {
		time.Sleep(5 * time.Millisecond)
		_, err = io.WriteString(conn, tail[i%len(tail):][:1])
	}
}

// silence waits until the other side hangs up.
func silence(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func gzipped(t testing.TB, text string, zeroBytes int64) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_, _ = io.Copy(z, io.LimitReader(zeros{}, zeroBytes))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// An endpoint cannot cost more than its timeout and the bound of an answer,
// whatever it does, and what it does is its own fault.
func TestAbuseCostsNoMoreThanItsCaps(t *testing.T) {
	const (
		ok       = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
		patience = 20 * time.Second       // the endpoint's timeout, where it should not matter
		timeout  = 150 * time.Millisecond // and where it should
		memory   = 24 << 20               // bytes allocated by the bridge and the server together
	)
	bomb := gzipped(t, `"`, 16<<20)
	nested := gzipped(t, bomb, 0)
	emptyBlock := "\x00\x00\x00\xff\xff" // of deflate, stored
	gzipHead := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
	for name, tt := range map[string]struct {
		speak func(net.Conn)
		slow  bool   // it ends at the timeout, and not before
		says  string // part of the error
	}{
		"gzip bomb":                        {saying(ok+"Content-Encoding: gzip\r\nConnection: close\r\n\r\n"+bomb, ""), false, "too long"},
		"gzip bomb in gzip":                {saying(ok+"Connection: close\r\nContent-Encoding: gzip, gzip\r\nContent-Length: "+decimal(len(nested))+"\r\n\r\n"+nested, ""), false, "not JSON"},
		"gzip in gzip, one named":          {saying(ok+"Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: "+decimal(len(nested))+"\r\n\r\n"+nested, ""), false, ""},
		"gzip and a length that lies":      {saying(ok+"Content-Encoding: gzip\r\nContent-Length: 1099511627776\r\n\r\n"+gzipped(t, "5", 0), ""), true, ""},
		"gzip of nothing for ever":         {saying(ok+"Content-Encoding: gzip\r\n\r\n"+gzipHead, emptyBlock), false, "too long"},
		"gzip members for ever":            {saying(ok+"Content-Encoding: gzip\r\n\r\n", gzipped(t, "", 0)), false, "too long"},
		"gzip with a name for ever":        {saying(ok+"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\xff", "x"), false, "not the gzip"},
		"not gzip":                         {saying(ok+"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n"+strings.Repeat("x", 20), ""), false, "not the gzip"},
		"gzip cut off":                     {saying(ok+"Content-Encoding: gzip\r\nContent-Length: 12\r\n\r\n"+gzipped(t, "5", 0)[:12], ""), false, "unexpected EOF"},
		"body for ever":                    {saying(ok+"\r\n", "0000"), false, "too long"},
		"chunks for ever":                  {saying(ok+"Transfer-Encoding: chunked\r\n\r\n", "40\r\n"+strings.Repeat("0", 64)+"\r\n"), false, ""},
		"large chunk":                      {saying(ok+"Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n", "0"), false, "too long"},
		"chunk extensions for ever":        {saying(ok+"Transfer-Encoding: chunked\r\n\r\n", "1;x="+strings.Repeat("x", 1000)+"\r\n0\r\n"), false, ""},
		"chunk extension that never ends":  {saying(ok+"Transfer-Encoding: chunked\r\n\r\n1;x=", "x"), false, ""},
		"trailers for ever":                {saying(ok+"Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n1\r\n5\r\n0\r\n", "X: y\r\n"), false, ""},
		"length that lies":                 {saying(ok+"Content-Length: 1099511627776\r\n\r\n5", ""), false, "too long"},
		"negative length":                  {saying(ok+"Content-Length: -1\r\n\r\n5", ""), false, ""},
		"two lengths":                      {saying(ok+"Content-Length: 1\r\nContent-Length: 2\r\n\r\n55", ""), false, ""},
		"length beyond numbers":            {saying(ok+"Content-Length: 99999999999999999999\r\n\r\n5", ""), false, ""},
		"headers for ever":                 {saying(ok, "X: y\r\n"), false, "headers exceeded"},
		"header that never ends":           {saying(ok+"X: ", "x"), false, "headers exceeded"},
		"status line that never ends":      {saying("HTTP/1.1 200 ", "x"), false, "headers exceeded"},
		"100 Continue for ever":            {saying("", "HTTP/1.1 100 Continue\r\n\r\n"), false, "headers exceeded"},
		"103 Early Hints for ever":         {saying("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), false, "headers exceeded"},
		"101 Switching Protocols":          {saying("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "0"), false, "too long"},
		"no HTTP":                          {saying("SSH-2.0-x\r\n", "x"), false, ""},
		"hangs up":                         {answering(func(net.Conn) {}), false, ""},
		"hangs up within the body":         {answering(func(c net.Conn) { _, _ = io.WriteString(c, ok+"Content-Length: 5\r\n\r\n5") }), false, ""},
		"never reads":                      {func(net.Conn) { time.Sleep(2 * timeout) }, true, ""},
		"never answers":                    {silence, true, ""},
		"never ends its body":              {saying(ok+"Content-Length: 5\r\n\r\n5", ""), true, ""},
		"drips its body":                   {dripping(ok+"Content-Length: 1000\r\n\r\n", "0"), true, ""},
		"drips its headers":                {dripping(ok, "X: y\r\n"), true, ""},
		"drips 100 Continue":               {dripping("", "HTTP/1.1 100 Continue\r\n\r\n"), true, ""},
		"drips gzip of nothing":            {dripping(ok+"Content-Encoding: gzip\r\n\r\n"+gzipHead, emptyBlock), true, ""},
		"drips chunks":                     {dripping(ok+"Transfer-Encoding: chunked\r\n\r\n", "1\r\n0\r\n"), true, ""},
		"drips trailers":                   {dripping(ok+"Transfer-Encoding: chunked\r\n\r\n1\r\n5\r\n0\r\n", "X: y\r\n"), true, ""},
		"https: silent in the handshake":   {silence, true, ""},
		"https: drips in the handshake":    {func(c net.Conn) { trickle(c, "\x16\x03\x03\x3f\xff\x02", "\x00") }, true, ""},
		"https: no TLS":                    {saying(ok+"\r\n", "x"), false, ""},
		"https: a record that never comes": {func(c net.Conn) { _, _ = io.WriteString(c, "\x16\x03\x03\x3f\xff\x02\xff\xff\xff"); silence(c) }, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			most := patience
			if tt.slow {
				most = timeout
			}
			o := CallbackOptions{Policy: Policy{Allow: loopback(), Timeout: most}}
			c := newCallbacks(t, o)
			target := "http://" + rawServer(t, tt.speak)
			if strings.HasPrefix(name, "https: ") {
				target = strings.Replace(target, "http:", "https:", 1)
			}
			call := invocation()
			if name == "never reads" {
				call.Args = []byte(`["` + strings.Repeat("x", 8<<20) + `"]`)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := c.Invoke(context.Background(), registration(target), call)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			want := core.CallbackFailed
			if tt.slow {
				want = core.Timeout
			}
			if core.CodeOf(err) != want || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("the caller is told %v", err)
			}
			if took > most+5*time.Second || tt.slow && took < timeout/2 {
				t.Errorf("it took %s", took)
			}
			if cost := after.TotalAlloc - before.TotalAlloc; cost > memory {
				t.Errorf("it cost %d KiB of memory", cost>>10)
			}
			out := newCallbacks(t, o).Send(context.Background(), eventAttempt(target))
			if out.Ours || out.Gone || out.Latency > most+5*time.Second || out.Done != (name == "gzip bomb in gzip" || name == "gzip in gzip, one named") {
				t.Errorf("an event got %+v", out)
			}
		})
	}
}

// Connections that never get ready outlive the callbacks that asked for them: they
// are bounded all the same.
func TestConnectionsBeingMadeAreBounded(t *testing.T) {
	var conns atomic.Int64
	address := rawServer(t, func(conn net.Conn) {
		conns.Add(1)
		silence(conn)
	})
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback(), Timeout: 20 * time.Millisecond}, MaxPerHost: 2})
	for range 10 {
		if out := c.Send(context.Background(), eventAttempt("https://"+address)); out.Ours || core.CodeOf(out.Err) != core.Timeout {
			t.Errorf("got %+v", out)
		}
	}
	if n := conns.Load(); n < 1 || n > 2 {
		t.Errorf("%d connections", n)
	}
}

func TestCompressedAnswers(t *testing.T) {
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback()}, MaxResponse: 1000})
	for name, tt := range map[string]struct{ body, want string }{
		"small":          {gzipped(t, `"hello"`, 0), `["hello"]`},
		"in two members": {gzipped(t, `"hel`, 0) + gzipped(t, `lo"`, 0), `["hello"]`},
		"just fits":      {gzipped(t, `1`, 999), "[1" + strings.Repeat("0", 999) + "]"},
		"does not fit":   {gzipped(t, `1`, 1000), ""},
		"nothing":        {"", "[null]"},
	} {
		asked := make(chan string, 1)
		a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
			asked <- r.Header.Get("Accept-Encoding")
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, tt.body)
		})
		got, err := c.Invoke(context.Background(), registration(a.URL), invocation())
		switch {
		case <-asked != "gzip":
			t.Error("the app is not told that it may compress")
		case tt.want == "" && (core.CodeOf(err) != core.CallbackFailed || !strings.Contains(err.Error(), "too long")):
			t.Errorf("%s: %v, %v", name, got, err)
		case tt.want != "" && (err != nil || string(got.Args) != tt.want):
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// What follows an answer on its connection is not taken for the next one.
func TestSplitAnswers(t *testing.T) {
	one := "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"
	address := rawServer(t, answering(func(conn net.Conn) {
		_, _ = io.WriteString(conn, one+"1"+one+"6")
		silence(conn)
	}))
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback()}})
	for range 3 {
		got, err := c.Invoke(context.Background(), registration("http://"+address), invocation())
		if err != nil || string(got.Args) != "[1]" {
			t.Errorf("got %v, %v", got, err)
		}
		time.Sleep(20 * time.Millisecond) // for the transport to see what came unasked
	}
}

// Redirects are answers like others, wherever they lead.
func TestRedirectsAreNotFollowed(t *testing.T) {
	hosts := newTraps(t, "127.0.0.1", "127.0.0.3")
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: prefixes("127.0.0.3/32")}})
	for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308} {
		for _, to := range []string{"http://127.0.0.1:" + hosts.port + "/", "http://127.0.0.3:" + hosts.port + "/", "//127.0.0.1:" + hosts.port, "/elsewhere", "file:///etc/passwd"} {
			asked := 0
			l, err := net.Listen("tcp", "127.0.0.3:0")
			if err != nil {
				t.Fatal(err)
			}
			s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				w.Header().Set("Location", to)
				w.Header().Set("Refresh", "0; url="+to)
				w.WriteHeader(status)
			})}
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = s.Serve(l)
			}()
			target := "http://" + l.Addr().String()
			out := c.Send(context.Background(), eventAttempt(target))
			if out.Done || out.Ours || out.Status != status || core.CodeOf(out.Err) != core.CallbackFailed || !strings.Contains(out.Err.Error(), "not followed") {
				t.Errorf("%d to %s: an event got %+v", status, to, out)
			}
			if _, err := c.Invoke(context.Background(), registration(target), invocation()); core.CodeOf(err) != core.CallbackFailed {
				t.Errorf("%d to %s: an invocation got %v", status, to, err)
			}
			s.Close()
			<-done
			if came := hosts.take(); len(came) > 0 || asked != 2 {
				t.Errorf("%d to %s: connections came to %v, %d requests to the app", status, to, came, asked)
			}
		}
	}
}
