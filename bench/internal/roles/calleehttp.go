package roles

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// startHTTPCallee is the web application behind a procedure: it adds two numbers.
func startHTTPCallee(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	return serveHTTP(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var o operands
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(strconv.AppendInt(nil, o.sum(), 10))
	}))
}

// startEcho is the floor of publishing: a server that reads JSON and writes JSON.
func startEcho(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	return serveHTTP(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var p payload
		if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeJSON(w, p)
	}))
}

func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}

// serveHTTP serves h on a free port of loopback.
func serveHTTP(ctx context.Context, h http.Handler) (*role, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(err) // the bench sees the process end
		}
	})
	return &role{ready: Ready{Addr: l.Addr().String()}, close: func() { _ = s.Close(); wg.Wait() }}, nil
}
