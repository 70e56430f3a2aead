package roles

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/bench/internal/lean"
)

// startWAMPCallee is the WAMP component behind a procedure: it adds two numbers.
func startWAMPCallee(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	url := flags.String("url", "", "")
	realm := flags.String("realm", "realm1", "")
	procedure := flags.String("procedure", "", "")
	serializer := flags.String("serializer", "json", "json or msgpack")
	nexus := flags.Bool("nexus-client", false, "serve with nexus' own client")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *nexus {
		return startNexusCallee(ctx, *url, *realm, *procedure)
	}
	codec, err := lean.CodecNamed(*serializer)
	if err != nil {
		return nil, err
	}
	session, err := lean.Join(ctx, *url, *realm, codec, 64<<10)
	if err != nil {
		return nil, err
	}
	if err := session.Register(*procedure); err != nil {
		session.Close()
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Its end is the end of the session: the load's calls then get an error.
		fmt.Fprintln(os.Stderr, "callee:", serveInvocations(session))
		session.Close()
	}()
	return &role{close: func() { session.Close(); <-done }}, nil
}

// serveInvocations answers until the connection ends. What has arrived together
// is answered together, as any client with an event loop does.
func serveInvocations(s *lean.Session) error {
	decode := decodeJSONInvocation
	if s.Codec.Op == lean.OpBinary {
		decode = func(b []byte) (uint64, operands, error) { return decodeInvocation(s.Codec, b) }
	}
	for {
		message, err := s.Read()
		if err != nil {
			return err
		}
		request, o, err := decode(message)
		if err != nil {
			return err
		}
		answer, err := s.Codec.Marshal([]any{lean.Yield, request, struct{}{}, []int64{o.sum()}})
		if err != nil {
			return err
		}
		s.Queue(s.Codec.Op, answer)
		if s.Idle() {
			if err := s.Flush(); err != nil {
				return err
			}
		}
	}
}

// decodeJSONInvocation reads [INVOCATION, request, registration, details, args, …].
func decodeJSONInvocation(b []byte) (request uint64, o operands, err error) {
	var m []json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return 0, o, err
	}
	if len(m) < 5 || string(m[0]) != "68" {
		return 0, o, fmt.Errorf("not an invocation: %s", b)
	}
	if err := json.Unmarshal(m[1], &request); err != nil {
		return 0, o, err
	}
	return request, o, json.Unmarshal(m[4], &o.Args)
}

func decodeInvocation(codec lean.Codec, b []byte) (request uint64, o operands, err error) {
	var m []any
	if err := codec.Unmarshal(b, &m); err != nil {
		return 0, o, err
	}
	if len(m) < 5 {
		return 0, o, fmt.Errorf("not an invocation: %v", m)
	}
	args, isList := m[4].([]any)
	if !isList {
		return 0, o, fmt.Errorf("not an invocation: %v", m)
	}
	for _, a := range args {
		n, err := integer(a)
		if err != nil {
			return 0, o, err
		}
		o.Args = append(o.Args, n)
	}
	id, err := integer(m[1])
	return uint64(id), o, err
}

// integer takes an integer of whatever width a decoder has chosen.
func integer(v any) (int64, error) {
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return r.Int(), nil
	case r.CanUint():
		return int64(r.Uint()), nil
	}
	return 0, fmt.Errorf("%v is not an integer", v)
}

func startNexusCallee(ctx context.Context, url, realm, procedure string) (*role, error) {
	c, err := client.ConnectNet(ctx, url, client.Config{Realm: realm, Logger: quiet{}})
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	add := func(_ context.Context, inv *wamp.Invocation) client.InvokeResult {
		var sum int64
		for _, a := range inv.Arguments {
			n, err := integer(a)
			if err != nil {
				return client.InvokeResult{Err: wamp.ErrInvalidArgument}
			}
			sum += n
		}
		return client.InvokeResult{Args: wamp.List{sum}}
	}
	if err := c.Register(procedure, add, nil); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("register: %w", err)
	}
	return &role{close: func() { _ = c.Close() }}, nil
}
