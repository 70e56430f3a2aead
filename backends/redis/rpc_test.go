package redis_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/redis"
	"github.com/anybridge/anybridge/backends/redis/redistest"
	"github.com/anybridge/anybridge/core"
)

// serve answers invocations of a procedure until the test ends.
func serve(t testing.TB, b *redis.Backend, name string, answer func(*core.Invocation)) core.Stream[*core.Invocation] {
	t.Helper()
	s, err := b.Register(patient(t), core.Pattern{Address: topic(name), Match: core.Exact}, core.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			invocations, err := s.Next(ctx)
			if err != nil {
				return
			}
			for _, inv := range invocations {
				answer(inv)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; _ = s.Close() })
	return s
}

func echo(inv *core.Invocation) { inv.Reply(&core.Result{Payload: inv.Payload}, nil) }

func call(name, args string) *core.Call {
	return &core.Call{Procedure: topic(name), Payload: core.Payload{Args: json.RawMessage(args)}}
}

func TestRedisCLICalls(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL())
	serve(t, b, "add", func(inv *core.Invocation) {
		var n []int
		if json.Unmarshal(inv.Args, &n) != nil || len(n) != 2 {
			inv.Reply(nil, &core.Error{Code: core.Application, URI: "com.shop.not_numbers", Payload: core.Payload{Args: inv.Args}})
			return
		}
		if string(inv.Details) != `{"caller":"me"}` || inv.Timeout <= 0 {
			t.Errorf("details %s, timeout %v", inv.Details, inv.Timeout)
		}
		inv.Reply(&core.Result{Payload: core.Payload{Args: json.RawMessage("[" + strconv.Itoa(n[0]+n[1]) + "]")}}, nil)
	})
	if got := s.CLI("GET", "rpc:server:add"); !strings.HasPrefix(got, "single:") {
		t.Errorf("announced as %q", got)
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).UnixMilli() }
	s.CLI("RPUSH", "rpc:call:add", fmt.Sprintf(`{"id":"1","args":[2,3],"reply_to":"rpc:reply:me","from":"me","deadline":%d}`, in(time.Minute)))
	if got := s.CLI("BLPOP", "rpc:reply:me", "30"); got != "rpc:reply:me\n"+`{"id":"1","args":[5]}` {
		t.Errorf("got %s", got)
	}
	s.CLI("RPUSH", "rpc:call:add", `{"id":"2","args":["x"],"reply_to":"rpc:reply:me"}`)
	if got := s.CLI("BLPOP", "rpc:reply:me", "30"); got != "rpc:reply:me\n"+`{"id":"2","error":"com.shop.not_numbers","args":["x"]}` {
		t.Errorf("got %s", got)
	}
	// Nothing of this is executed or answered, and nothing breaks.
	for _, bad := range []string{
		fmt.Sprintf(`{"id":"late","args":[1,1],"reply_to":"rpc:reply:me","deadline":%d}`, in(-time.Second)),
		`{"id":"elsewhere","args":[1,1],"reply_to":"orders"}`, `no request`, `{"args":1}`, `{"id":5}`, ``,
	} {
		s.CLI("RPUSH", "rpc:call:add", bad)
	}
	s.CLI("RPUSH", "rpc:call:add", `{"id":"3","args":[1],"reply_to":"rpc:reply:me"}`)
	if got := s.CLI("BLPOP", "rpc:reply:me", "30"); !strings.Contains(got, `"id":"3"`) {
		t.Errorf("got %s", got)
	}
	if n, m := counter(t, b, "requests_expired"), counter(t, b, "requests_malformed"); n != 1 || m != 5 {
		t.Errorf("%d expired, %d malformed", n, m)
	}
	if s.CLI("EXISTS", "orders") != "0" || s.CLI("EXISTS", "rpc:call:add") != "0" {
		t.Error("something is left behind")
	}
}

func TestRedisCLIServes(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL())
	go func() {
		out, err := s.Run("BLPOP", "rpc:call:greet", "30")
		if err != nil {
			return
		}
		_, request, _ := strings.Cut(out, "\n")
		var m struct {
			ID, ReplyTo string
			To          string `json:"reply_to"`
		}
		_ = json.Unmarshal([]byte(request), &m)
		_, _ = s.Run("RPUSH", m.To, `{"id":"forged","args":["no"]}`)
		_, _ = s.Run("RPUSH", m.To, `rubbish`)
		_, _ = s.Run("RPUSH", m.To, fmt.Sprintf(`{"id":%q,"args":["hello"],"kwargs":{"a":1}}`, m.ID))
	}()
	res, err := b.Call(patient(t), call("greet", `["me"]`))
	if err != nil || string(res.Args) != `["hello"]` || string(res.Kwargs) != `{"a":1}` {
		t.Errorf("got %v, %v", res, err)
	}
	if n := counter(t, b, "answers_nobody_waits_for"); n != 1 {
		t.Errorf("%d answers nobody waited for", n)
	}
}

func TestCallBetweenBridges(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a, b := open(t, s.URL()), open(t, s.URL())
	serve(t, b, "echo", echo)
	serve(t, b, "fail", func(inv *core.Invocation) {
		inv.Reply(nil, core.Errorf(core.CallbackFailed, "the app is broken"))
	})
	var calls sync.WaitGroup
	for i := range 500 {
		calls.Go(func() {
			args := fmt.Sprintf(`[%d,9007199254740993]`, i)
			res, err := a.Call(patient(t), call("echo", args))
			if err != nil || string(res.Args) != args {
				t.Errorf("got %v, %v", res, err)
			}
		})
	}
	calls.Wait()
	_, err := a.Call(patient(t), call("fail", `[]`))
	wantCode(t, err, core.CallbackFailed)
	if core.AsError(err).Message != "the app is broken" {
		t.Errorf("got %v", err)
	}
}

func TestNoSuchProcedure(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(), settings{"rpc": settings{"grace": "100ms"}})
	_, err := b.Call(patient(t), call("nobody", `[]`))
	wantCode(t, err, core.NoSuchProcedure)
	if s.CLI("LLEN", "rpc:call:nobody") != "0" {
		t.Error("the request is still there")
	}
	// Somebody who takes it later than that, but takes it, is waited for.
	s.CLI("SET", "rpc:server:slow", "me", "EX", "30")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err = b.Call(ctx, call("slow", `[]`))
	wantCode(t, err, core.Timeout)
	if s.CLI("LLEN", "rpc:call:slow") != "0" {
		t.Error("a request that timed out is still there")
	}
}

func TestCallCanceled(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL())
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	_, err := b.Call(ctx, call("p", `[]`))
	wantCode(t, err, core.Canceled)
	if s.CLI("LLEN", "rpc:call:p") != "0" {
		t.Error("the request is still there")
	}
}

func TestServerKilledDuringACall(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL())
	s.CLI("SET", "rpc:server:p", "me")
	failed := make(chan error, 1)
	go func() {
		_, err := b.Call(patient(t), call("p", `[]`))
		failed <- err
	}()
	redistest.Eventually(t, "the request is there", func() bool { return s.CLI("LLEN", "rpc:call:p") == "1" })
	s.Kill()
	wantCode(t, <-failed, core.Unavailable)
	s.Start()
	waitState(t, b, core.Up)
	serve(t, b, "q", echo)
	redistest.Eventually(t, "calls work again", func() bool {
		_, err := b.Call(patient(t), call("q", `[1]`))
		return err == nil
	})
	s.Kill()
	s.Start()
	redistest.Eventually(t, "calls work again with the old registration", func() bool {
		_, err := b.Call(patient(t), call("q", `[1]`))
		return err == nil
	})
}

func TestSingleAndShared(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a, b := open(t, s.URL()), open(t, s.URL())
	register := func(b *redis.Backend, name, invoke string) (core.Stream[*core.Invocation], error) {
		return b.Register(patient(t), core.Pattern{Address: topic(name)}, core.RegisterOptions{Invoke: invoke})
	}
	one, err := register(a, "p", "single")
	if err != nil {
		t.Fatal(err)
	}
	_, err = register(b, "p", "single")
	wantCode(t, err, core.AlreadyExists)
	_, err = register(b, "p", "random")
	wantCode(t, err, core.AlreadyExists)
	_ = one.Close()
	two, err := register(b, "p", "random")
	if err != nil {
		t.Fatal(err)
	}
	three, err := register(a, "p", "random")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = two.Close(), three.Close()
	_, err = register(a, "p", "first")
	wantCode(t, err, core.Unimplemented)
	_, err = a.Register(patient(t), core.Pattern{Address: topic("p"), Match: core.Prefix}, core.RegisterOptions{})
	wantCode(t, err, core.Unimplemented)
	// One whose holder died is free within seconds.
	s.CLI("SET", "rpc:server:dead", "single:somebody", "PX", "2900")
	four, err := register(a, "dead", "single")
	if err != nil {
		t.Fatal(err)
	}
	_ = four.Close()
}

// Requests that were not taken go back when the registration ends and is not the only
// one.
func TestUntakenRequestsGoBack(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL())
	reg, err := b.Register(patient(t), core.Pattern{Address: topic("p")}, core.RegisterOptions{Invoke: "random"})
	if err != nil {
		t.Fatal(err)
	}
	s.CLI("RPUSH", "rpc:call:p", `{"args":[1]}`, `{"args":[2]}`)
	redistest.Eventually(t, "they are taken from the list", func() bool { return counter(t, b, "invocations") == 2 })
	_ = reg.Close()
	if got := s.CLI("LLEN", "rpc:call:p"); got != "2" {
		t.Errorf("the list has %s requests", got)
	}
	if _, err := reg.Next(patient(t)); !errors.Is(err, io.EOF) && core.CodeOf(err) != core.Unavailable {
		t.Errorf("got %v", err)
	}
	time.Sleep(1200 * time.Millisecond) // longer than a read waits
	if got := s.CLI("LLEN", "rpc:call:p"); got != "2" {
		t.Errorf("the list has %s requests", got)
	}
}

func TestInFlightIsBounded(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(), settings{"rpc": settings{"max_in_flight": 3, "max_queued": 5}})
	var mu sync.Mutex
	var waiting []*core.Invocation
	flowing := false
	serve(t, b, "p", func(inv *core.Invocation) {
		mu.Lock()
		defer mu.Unlock()
		if flowing {
			echo(inv)
			return
		}
		waiting = append(waiting, inv)
	})
	for range 6 {
		s.CLI("RPUSH", "rpc:call:p", `{"reply_to":"rpc:reply:me"}`)
	}
	redistest.Eventually(t, "three are taken", func() bool { return counter(t, b, "invocations") == 3 })
	time.Sleep(100 * time.Millisecond)
	if n := s.CLI("LLEN", "rpc:call:p"); n != "3" {
		t.Errorf("%s wait", n)
	}
	s.CLI("RPUSH", "rpc:call:p", "{}", "{}", "{}")
	_, err := b.Call(patient(t), call("p", `[]`))
	wantCode(t, err, core.TooMany)
	redistest.Eventually(t, "all are answered", func() bool {
		mu.Lock()
		defer mu.Unlock()
		flowing = true
		for _, inv := range waiting {
			inv.Reply(&core.Result{}, nil)
			inv.Reply(nil, errors.New("again"))
		}
		waiting = nil
		return s.CLI("LLEN", "rpc:reply:me") == "6" && counter(t, b, "invocations") == 9
	})
}

// Close answers what is in flight.
func TestCloseAnswers(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL())
	serve(t, b, "p", func(inv *core.Invocation) {
		time.AfterFunc(300*time.Millisecond, func() { echo(inv) })
	})
	s.CLI("RPUSH", "rpc:call:p", `{"args":[1],"reply_to":"rpc:reply:me"}`)
	redistest.Eventually(t, "it is taken", func() bool { return counter(t, b, "invocations") == 1 })
	time.Sleep(50 * time.Millisecond)
	closeBackend(t, b)
	if got := s.CLI("LPOP", "rpc:reply:me"); got != `{"args":[1]}` {
		t.Errorf("got %q", got)
	}
}
