package roles

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/bench/internal/lean"
)

// startCallLoad is the closed loop of WAMP callers, one session each.
func startCallLoad(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	url := flags.String("url", "", "")
	realm := flags.String("realm", "realm1", "")
	procedure := flags.String("procedure", "", "")
	payload := flags.String("args", "[$A,$B]", "template of the arguments (and, behind a comma, the keyword arguments)")
	conns := flags.Int("conns", 64, "")
	nexus := flags.Bool("nexus-client", false, "call with nexus' own client")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	codec, err := lean.CodecNamed("json")
	if err != nil {
		return nil, err
	}
	t := parseTemplate(*payload)
	return loop{*conns, func(i int) (worker, error) {
		if *nexus {
			return newNexusCaller(ctx, *url, *realm, *procedure, i)
		}
		return newCaller(ctx, *url, *realm, codec, t, *procedure, i)
	}}.role(), nil
}

type caller struct {
	*lean.Session
	procedure string
	payload   template
	rand      *rand.Rand
	buf       []byte
}

func newCaller(ctx context.Context, url, realm string, codec lean.Codec, payload template, procedure string, i int) (worker, error) {
	s, err := lean.Join(ctx, url, realm, codec, 4096)
	if err != nil {
		return nil, err
	}
	return &caller{Session: s, procedure: procedure, payload: payload, rand: newRand(i)}, nil
}

func (c *caller) do() error {
	a, b := randomOperands(c.rand)
	c.buf = append(c.buf[:0], "[48,"...)
	c.buf = strconv.AppendUint(c.buf, c.NextID(), 10)
	c.buf = append(c.buf, `,{},"`...)
	c.buf = append(c.buf, c.procedure...)
	c.buf = append(c.buf, `",`...)
	c.buf = append(c.payload.append(c.buf, a, b), ']')
	if err := c.Send(lean.OpText, c.buf); err != nil {
		return err
	}
	answer, err := c.Read()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(answer, []byte("[50,")) || !lean.ContainsNumber(answer, a+b) {
		return fmt.Errorf("answered %s, want a result with %d in it", answer, a+b)
	}
	return nil
}

type nexusCaller struct {
	client    *client.Client
	procedure string
	rand      *rand.Rand
}

func newNexusCaller(ctx context.Context, url, realm, procedure string, i int) (worker, error) {
	c, err := client.ConnectNet(ctx, url, client.Config{Realm: realm, Logger: quiet{}})
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &nexusCaller{client: c, procedure: procedure, rand: newRand(i)}, nil
}

// Close leaves politely: the client has goroutines to end.
func (c *nexusCaller) Close() { _ = c.client.Close() }

func (c *nexusCaller) do() error {
	a, b := randomOperands(c.rand)
	r, err := c.client.Call(context.Background(), c.procedure, nil, wamp.List{a, b}, nil, nil)
	if err != nil {
		return err
	}
	if len(r.Arguments) == 1 {
		if n, ok := wamp.AsInt64(r.Arguments[0]); ok && n == a+b {
			return nil
		}
	}
	return fmt.Errorf("answered %v, want %d", r.Arguments, a+b)
}
