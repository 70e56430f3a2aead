package quick

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// echo answers with what it was sent, and by whom it was read.
func echo(w http.ResponseWriter, r *http.Request) {
	_, quickly := w.(*response)
	body, err := io.ReadAll(r.Body)
	w.Header().Set("X-Quick", fmt.Sprint(quickly))
	if r.URL.Path == "/publish/inject/" {
		w.Header().Set("X-Inject", "a\r\nX-Evil: b")
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
}

type lab struct {
	t       *testing.T
	address string
	server  *Server
	served  chan error
	open    atomic.Int64 // connections, by ConnState
	log     bytes.Buffer
}

func start(t *testing.T, handler http.HandlerFunc, change func(*http.Server)) *lab {
	t.Helper()
	x := &lab{t: t, served: make(chan error, 1)}
	rest := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
		IdleTimeout: 5 * time.Second, ErrorLog: log.New(&x.log, "", 0),
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				x.open.Add(1)
			case http.StateClosed:
				x.open.Add(-1)
			case http.StateActive, http.StateIdle, http.StateHijacked:
			}
		},
	}
	if change != nil {
		change(rest)
	}
	x.server = New(Options{Prefix: prefix, MaxBody: maxBody, Handler: handler, Rest: rest})
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x.address = l.Addr().String()
	go func() { x.served <- x.server.Serve(l) }()
	t.Cleanup(func() {
		x.stop()
		end := time.Now().Add(10 * time.Second) // net/http counts after it has returned
		for x.open.Load() != 0 && time.Now().Before(end) {
			time.Sleep(time.Millisecond)
		}
		if n := x.open.Load(); n != 0 {
			t.Errorf("%d connections are counted after the end", n)
		}
	})
	return x
}

func (x *lab) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = x.server.Shutdown(ctx)
	select {
	case err := <-x.served:
		if !errors.Is(err, http.ErrServerClosed) {
			x.t.Errorf("Serve: %v", err)
		}
		x.served <- err
	case <-ctx.Done():
		x.t.Error("Serve does not return")
	}
}

func (x *lab) dial() net.Conn {
	x.t.Helper()
	c, err := (&net.Dialer{}).DialContext(x.t.Context(), "tcp", x.address)
	if err != nil {
		x.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	x.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (x *lab) send(c net.Conn, text string) {
	x.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		x.t.Fatal(err)
	}
}

// answer reads an answer: its status, body and whether it came quickly.
func (x *lab) answer(in *bufio.Reader) (status int, body string, quickly string) {
	x.t.Helper()
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	text, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		x.t.Fatal(err)
	}
	if _, err := http.ParseTime(r.Header.Get("Date")); err != nil {
		x.t.Errorf("Date: %v", err)
	}
	if r.Header.Get("X-Evil") != "" {
		x.t.Error("a header was injected")
	}
	return r.StatusCode, string(text), r.Header.Get("X-Quick")
}

func (x *lab) want(in *bufio.Reader, body, quickly string) {
	x.t.Helper()
	if status, got, how := x.answer(in); status != http.StatusOK || got != body || how != quickly {
		x.t.Errorf("got %d %q, quickly %s; want %q, %s", status, got, how, body, quickly)
	}
}

func request(path, body string, more ...string) string {
	lines := append([]string{"POST " + path + " HTTP/1.1", "Host: a", fmt.Sprintf("Content-Length: %d", len(body))}, more...)
	return head(lines...) + body
}

func TestServe(t *testing.T) {
	x := start(t, echo, nil)
	c := x.dial()
	in := bufio.NewReader(c)
	for i := range 3 {
		x.send(c, request("/publish/a/", fmt.Sprint("body", i)))
		x.want(in, fmt.Sprint("POST /publish/a/ body", i), "true")
	}
	x.send(c, request("/publish/a/", ""))
	x.want(in, "POST /publish/a/ ", "true")
	x.send(c, request("/publish/inject/", ""))
	x.want(in, "POST /publish/inject/ ", "true")
	t.Run("several at once", func(*testing.T) {
		x.send(c, request("/publish/a/", "one")+request("/publish/b/", "two")+request("/call/c/", "three")+request("/publish/d/", "four"))
		x.want(in, "POST /publish/a/ one", "true")
		x.want(in, "POST /publish/b/ two", "true")
		x.want(in, "POST /call/c/ three", "false")
		x.want(in, "POST /publish/d/ four", "false") // it was handed over for good
	})
	t.Run("others", func(*testing.T) {
		for _, text := range []string{
			request("/publish/a/", "x", "X-Strange: x"),
			head("POST /publish/a/ HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "1\r\nx\r\n0\r\n\r\n",
			request("/publish/a/", "x", "Connection: close"),
		} {
			c := x.dial()
			x.send(c, text)
			x.want(bufio.NewReader(c), "POST /publish/a/ x", "false")
		}
		c := x.dial()
		x.send(c, "nonsense\r\n\r\n")
		if r, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || r.StatusCode != http.StatusBadRequest {
			t.Errorf("got %v, %v", r, err)
		}
	})
}

// A request may come in pieces, wherever they are cut.
func TestPieces(t *testing.T) {
	x := start(t, echo, nil)
	text := request("/publish/a/", "hello")
	var wg sync.WaitGroup
	for i := 1; i < len(text); i++ {
		c := x.dial()
		wg.Go(func() {
			x.send(c, text[:i])
			time.Sleep(20 * time.Millisecond)
			x.send(c, text[i:]+text)
			in := bufio.NewReader(c)
			for range 2 {
				if status, body, _ := x.answer(in); status != http.StatusOK || body != "POST /publish/a/ hello" {
					t.Errorf("cut at %d: %d %q", i, status, body)
				}
			}
		})
	}
	wg.Wait()
}

// What a handler does not read is read for it; what never comes ends the connection.
func TestBodies(t *testing.T) {
	x := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/publish/lazy/" {
			_, _ = io.WriteString(w, "lazy")
			return
		}
		echo(w, r)
	}, func(s *http.Server) { s.ReadTimeout = 300 * time.Millisecond })
	c := x.dial()
	in := bufio.NewReader(c)
	x.send(c, request("/publish/lazy/", strings.Repeat("x", maxBody))+request("/publish/a/", "next"))
	if status, body, _ := x.answer(in); status != http.StatusOK || body != "lazy" {
		t.Errorf("got %d %q", status, body)
	}
	x.want(in, "POST /publish/a/ next", "true")

	for _, path := range []string{"/publish/lazy/", "/publish/a/"} {
		c := x.dial()
		x.send(c, strings.TrimSuffix(request(path, "never whole"), "whole"))
		began := time.Now()
		in := bufio.NewReader(c)
		r, err := http.ReadResponse(in, nil)
		if err != nil || !r.Close {
			t.Fatalf("%s: %v, %v", path, r, err)
		}
		_ = r.Body.Close()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: it took %s", path, took)
		}
		if _, err := io.Copy(io.Discard, in); err != nil {
			t.Errorf("%s: not closed: %v", path, err)
		}
	}
}

func TestSilence(t *testing.T) {
	x := start(t, echo, func(s *http.Server) { s.ReadHeaderTimeout, s.IdleTimeout = 200*time.Millisecond, 400*time.Millisecond })
	ended := func(c net.Conn) {
		t.Helper()
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("not closed: %v", err)
		}
	}
	ended(x.dial()) // says nothing
	c := x.dial()
	x.send(c, "POST /publish/a/ HT") // and no more
	ended(c)
	c = x.dial()
	x.send(c, request("/publish/a/", "x"))
	ended(c) // after its answer
}

func TestPanic(t *testing.T) {
	x := start(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/publish/panic/":
			panic("oh")
		case "/publish/abort/":
			panic(http.ErrAbortHandler)
		}
		echo(w, r)
	}, nil)
	for _, path := range []string{"/publish/panic/", "/publish/abort/"} {
		c := x.dial()
		x.send(c, request(path, ""))
		if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	c := x.dial()
	x.send(c, request("/publish/a/", ""))
	x.want(bufio.NewReader(c), "POST /publish/a/ ", "true")
	x.stop()
	if s := x.log.String(); !strings.Contains(s, "oh") || strings.Contains(s, "abort") {
		t.Errorf("log: %s", s)
	}
}

// Shutdown closes what is idle, and waits for what is under way.
func TestShutdown(t *testing.T) {
	entered, proceed := make(chan bool, 2), make(chan bool)
	x := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/publish/slow/" {
			entered <- true
			<-proceed
		}
		echo(w, r)
	}, nil)
	idle, busy := x.dial(), x.dial()
	x.send(idle, request("/publish/a/", ""))
	idleIn, busyIn := bufio.NewReader(idle), bufio.NewReader(busy)
	x.want(idleIn, "POST /publish/a/ ", "true")
	x.send(busy, request("/publish/slow/", "x"))
	<-entered
	done := make(chan error, 1)
	go func() { done <- x.server.Shutdown(context.Background()) }()
	if _, err := io.Copy(io.Discard, idleIn); err != nil {
		t.Errorf("the idle one is not closed: %v", err)
	}
	select {
	case err := <-done:
		t.Errorf("Shutdown has not waited: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(proceed)
	r, err := http.ReadResponse(busyIn, nil)
	if err != nil || !r.Close {
		t.Errorf("got %+v, %v", r, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", x.address); err == nil {
		_ = c.Close()
		t.Error("still listening")
	}
}

// Shutdown cuts off what takes longer than it may.
func TestShutdownCutsOff(t *testing.T) {
	entered := make(chan bool, 1)
	x := start(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- true
		<-r.Context().Done()
	}, nil)
	c := x.dial()
	x.send(c, request("/publish/slow/", "x"))
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := x.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
