package roles

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"

	"github.com/anybridge/anybridge/bench/internal/lean"
)

// startHTTPLoad is the closed loop of HTTP callers and publishers.
func startHTTPLoad(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	addr := flags.String("addr", "", "host:port")
	path := flags.String("path", "/", "")
	token := flags.String("token", "", "")
	body := flags.String("body", "", "template")
	sum := flags.Bool("sum", false, "the answer must hold the sum of $A and $B")
	conns := flags.Int("conns", 64, "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	t := parseTemplate(*body)
	return loop{*conns, func(i int) (worker, error) {
		c, err := lean.DialHTTP(ctx, *addr, *path, *token)
		if err != nil {
			return nil, err
		}
		return &httpWorker{HTTP: c, body: t, sum: *sum, rand: newRand(i)}, nil
	}}.role(), nil
}

type httpWorker struct {
	*lean.HTTP
	body template
	sum  bool
	rand *rand.Rand
	buf  []byte
}

func (w *httpWorker) do() error {
	a, b := randomOperands(w.rand)
	w.buf = w.body.append(w.buf[:0], a, b)
	status, answer, err := w.Post(w.buf)
	switch {
	case err != nil:
		return err
	case status != 200:
		return fmt.Errorf("status %d: %s", status, answer)
	case w.sum && !lean.ContainsNumber(answer, a+b):
		return fmt.Errorf("answered %s, want %d in it", answer, a+b)
	}
	return nil
}
