package roles

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"net"
	"net/http"
	"sync"
)

// startHTTPSink is the web application that receives events.
func startHTTPSink(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	s := newSink()
	web, err := serveHTTP(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct {
			Args []string `json:"args"`
		}
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil || len(event.Args) == 0 {
			http.Error(w, "not an event", http.StatusBadRequest)
			return
		}
		s.record([]byte(event.Args[0]))
		// No body: Crossbar's forwarder never reads one, and then its connection
		// would not be used again.
		w.Header().Set("Content-Length", "0")
	}))
	if err != nil {
		return nil, err
	}
	feedback, err := serveCount(ctx, s)
	if err != nil {
		web.close()
		return nil, err
	}
	return &role{
		ready: Ready{Addr: web.ready.Addr, Feedback: feedback.ready.Addr},
		do:    s.drain,
		close: func() { feedback.close(); web.close() },
	}, nil
}

// serveCount streams the sink's count to whoever connects, eight bytes at a time.
func serveCount(ctx context.Context, s *sink) (*role, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				streamCount(ctx, s, conn)
			})
		}
	})
	return &role{ready: Ready{Addr: l.Addr().String()}, close: func() { cancel(); l.Close(); wg.Wait() }}, nil
}

func streamCount(ctx context.Context, s *sink, conn net.Conn) {
	start, _ := s.next()
	for {
		total, changed := s.next()
		if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, total-start)); err != nil {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
