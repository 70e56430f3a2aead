package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

func TestInfo(t *testing.T) {
	p, _ := launch(t, func(s *Spec) { s.Config = json.RawMessage(`{"label":"a"}`) })
	want := core.Info{Kind: "test", Listen: []string{"test://a"}, Can: core.Capabilities{
		Publish: true, Subscribe: []core.Match{core.Exact, core.Prefix, core.Wildcard}, Call: true,
		Register: []core.Match{core.Exact}, Invoke: []string{"roundrobin"}, Retain: true,
	}}
	if got := p.Info(); !reflect.DeepEqual(got, want) {
		t.Errorf("Info: got %+v, want %+v", got, want)
	}
	s, err := p.Status(t.Context())
	if err != nil || s.State != core.Up || s.Reason != "a" || s.Counters["opens"] != 1 {
		t.Errorf("Status: got %+v, %v", s, err)
	}
	process := p.Process()
	if process.State != core.Up || process.PID == 0 || !alive(process.PID) || process.RSS == 0 || process.Restarts != 0 || process.Started.IsZero() {
		t.Errorf("Process: got %+v", process)
	}
}

func TestEventsCrossWithEveryField(t *testing.T) {
	p, _ := launch(t)
	s, err := p.Subscribe(t.Context(), core.Pattern{Address: name(""), Match: core.Prefix})
	if err != nil {
		t.Fatal(err)
	}
	for _, options := range []core.PublishOptions{
		{},
		{Retain: true, Exclude: []uint64{1 << 53}, ExcludeAuthID: []string{"a"}, ExcludeAuthRole: []string{"b", "c"}},
		{Eligible: []uint64{}, EligibleAuthID: []string{}, EligibleAuthRole: []string{"d"}},
		{Exclude: []uint64{}, ExcludeAuthID: []string{}, ExcludeAuthRole: []string{}, Eligible: []uint64{1}, EligibleAuthRole: []string{}},
	} {
		e := &core.Event{
			ID: "the bridge's", Topic: name("com.shop.order"), Payload: core.Payload{Args: json.RawMessage(`[1]`), Kwargs: json.RawMessage(`{"a":2}`)},
			Time: time.Date(2014, 5, 6, 7, 8, 9, 10, time.UTC), Details: json.RawMessage(`{"x":3}`),
			Options: options,
		}
		if err := p.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(e.ID, "event-") || e.Withheld {
			t.Errorf("Publish left %+v", e)
		}
		got := nextEvents(t, s, 1)[0]
		if got.Topic != name("echo.com.shop.order") || !strings.HasPrefix(got.ID, "event-") || got.ID == e.ID {
			t.Errorf("got %+v of %+v", got, e)
		}
		if got.Topic, got.ID = e.Topic, e.ID; !reflect.DeepEqual(got, e) {
			t.Errorf("got %+v, want %+v", got, e)
		}
	}
	withheld := &core.Event{Topic: name("withheld"), Origin: "token", ExcludeMe: true}
	if err := p.Publish(t.Context(), withheld); err != nil || !withheld.Withheld {
		t.Errorf("not withheld: %+v, %v", withheld, err)
	}
	if got := nextEvents(t, s, 1)[0]; got.Origin != "" || got.ExcludeMe {
		t.Errorf("the backend was told who published: %+v", got)
	}
	wantCode(t, p.Publish(t.Context(), &core.Event{Topic: name("refused")}), core.Forbidden)
	wantCode(t, p.Publish(t.Context(), &core.Event{Topic: name("panic")}), core.Internal)

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after Close: got %v, want io.EOF", err)
	}
	eventually(t, "unsubscribed", func() bool { return counter(t, p, "subs_now") == 0 })
}

func TestPayloadBytesAreIdentical(t *testing.T) {
	p, _ := launch(t)
	for _, args := range []string{
		``, `[]`, `[null]`, `[9007199254740993,-0.0,1e400,1.10]`, `[{"b":1,"a":2,"b":3}]`, ` [ 1 ,	2 ] `,
		"[\"\u2028\u2029\U0001F600\"]", `["\ud83d\ude00","\u0000"]`, `["\u0000AAEC/w=="]`,
		strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
	} {
		c := &core.Call{Procedure: name("echo"), Payload: core.Payload{Args: json.RawMessage(args), Kwargs: json.RawMessage(`{"k":` + or(args, "1") + `}`)}, Caller: core.Caller{Token: "shop", User: "\u2028\"é"}}
		r, err := p.Call(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Args, c.Args) || !bytes.Equal(r.Kwargs, c.Kwargs) || !bytes.Equal(r.Details, c.Caller.Details()) || (len(args) == 0) != (r.Args == nil) {
			t.Errorf("sent %.80s, got %.80s", c.Args, r.Args)
		}
	}
	if r, err := p.Call(t.Context(), &core.Call{Procedure: name("nothing")}); err != nil || r == nil || r.Args != nil {
		t.Errorf("no result: got %+v, %v", r, err)
	}
}

func TestErrorsCrossWithEveryField(t *testing.T) {
	p, logged := launch(t)
	_, err := call(t.Context(), p, "error", `[]`)
	want := &core.Error{
		Code: core.Application, Message: "sold out", URI: "com.shop.sold_out", RetryAfter: 90 * time.Second,
		Payload: core.Payload{Args: json.RawMessage(`[9007199254740993]`), Kwargs: json.RawMessage(`{"b":1,"a":null}`)},
	}
	if fields(err) != fields(want) {
		t.Errorf("got %#v, want %#v", err, want)
	}
	_, err = call(t.Context(), p, "unknown", `[]`)
	wantCode(t, err, core.NoSuchProcedure)
	if e := core.AsError(err); e.URI != "wamp.error.no_such_procedure" {
		t.Errorf("got URI %q", e.URI)
	}
	_, err = call(t.Context(), p, "plain error", `[]`)
	if wantCode(t, err, core.Internal); err.Error() != "not one of core's: \uFFFD" {
		t.Errorf("got %q", err)
	}
	_, err = call(t.Context(), p, "panic", `[]`)
	wantCode(t, err, core.Internal)
	eventually(t, "the panic in the log", func() bool { return logged.find("backend panicked") != nil })
	record := logged.find("backend panicked")
	if stack := attr(record, "stack").String(); !strings.Contains(stack, "(*testBackend).builtin") || attr(record, "panic").String() != "call panics" {
		t.Errorf("logged %v", record)
	}
	if p.Process().Restarts != 0 {
		t.Error("a panic in a call took the process down")
	}
}

func TestInvocations(t *testing.T) {
	p, _ := launch(t)
	s, err := p.Register(t.Context(), exact("add"), core.RegisterOptions{Invoke: "roundrobin"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Register(t.Context(), exact("add"), core.RegisterOptions{}); core.CodeOf(err) != core.AlreadyExists {
		t.Errorf("registered twice: %v", err)
	}
	if counter(t, p, "invoke_roundrobin") != 1 {
		t.Error("the invocation policy did not cross")
	}
	answer := func(reply func(*core.Invocation)) <-chan *core.Invocation {
		got := make(chan *core.Invocation, 1)
		go func() {
			invs, err := s.Next(context.Background())
			if err != nil || len(invs) != 1 {
				panic(fmt.Sprint(invs, err))
			}
			reply(invs[0])
			got <- invs[0]
		}()
		return got
	}

	got := answer(func(inv *core.Invocation) {
		inv.Reply(&core.Result{Payload: core.Payload{Args: inv.Args}, Details: json.RawMessage(`{"r":1}`)}, nil)
		inv.Reply(nil, errors.New("only the first reply counts"))
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := p.Call(ctx, &core.Call{Procedure: name("add"), Payload: core.Payload{Args: json.RawMessage(`[1,2]`)}, Caller: core.Caller{Token: "shop"}})
	if err != nil || string(r.Args) != `[1,2]` || string(r.Details) != `{"r":1}` {
		t.Errorf("got %+v, %v", r, err)
	}
	inv := <-got
	if inv.ID != "inv-1" || inv.Procedure != name("add") || string(inv.Details) != `{"caller_token":"shop"}` || inv.Timeout <= 0 || inv.Timeout > time.Minute {
		t.Errorf("got invocation %+v", inv)
	}

	want := &core.Error{Code: core.Application, URI: "com.app.no", Payload: core.Payload{Kwargs: json.RawMessage(`{"why":1}`)}}
	got = answer(func(inv *core.Invocation) { inv.Reply(nil, want) })
	if _, err := call(t.Context(), p, "add", `[]`); fields(err) != fields(want) {
		t.Errorf("got %#v", err)
	}
	<-got

	// The caller gives up: the invocation is canceled.
	canceled := make(chan struct{})
	got = answer(func(inv *core.Invocation) { cancel(); <-inv.Canceled; close(canceled) })
	_, err = call(ctx, p, "add", `[]`)
	wantCode(t, err, core.Canceled)
	<-canceled
	<-got

	// What is not taken when the stream is closed is answered.
	const untaken = 3
	errs := make(chan error, untaken)
	for range untaken {
		go func() {
			_, err := call(context.Background(), p, "add", `[]`)
			errs <- err
		}()
	}
	f := s.(*feed[*core.Invocation])
	eventually(t, "invocations wait", func() bool { return f.pipe.Len() == untaken })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range untaken {
		wantCode(t, <-errs, core.Unavailable)
	}
	// Close is not waited for, yet the same procedure can be had at once.
	again, err := p.Register(t.Context(), exact("add"), core.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

func TestTenThousandCallsAtOnce(t *testing.T) {
	p, _ := launch(t)
	const n = 10_000
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		wg.Go(func() {
			_, err := call(patient(t), p, "barrier", fmt.Sprintf("[%d]", n))
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestTooManyCalls(t *testing.T) {
	p, _ := launch(t, func(s *Spec) { s.Limits.MaxInFlight = 8 })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { _, _ = call(ctx, p, "block", `[]`) })
	}
	eventually(t, "blocked", func() bool { return counter(t, p, "blocked") == 8 })
	_, err := call(t.Context(), p, "echo", `[]`)
	wantCode(t, err, core.TooMany)
	if core.AsError(err).RetryAfter == 0 {
		t.Error("no RetryAfter")
	}
	cancel()
	wg.Wait()
	eventually(t, "unblocked", func() bool { return counter(t, p, "unblocked") == 8 })
	mustCall(t, p, "echo", `[]`)
}

func TestCancelAndDeadlineTravel(t *testing.T) {
	p, _ := launch(t)
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 1)
	go func() { _, err := call(ctx, p, "block", `[]`); errs <- err }()
	eventually(t, "blocked", func() bool { return counter(t, p, "blocked") == 1 })
	cancel()
	wantCode(t, <-errs, core.Canceled)
	eventually(t, "canceled in the plugin", func() bool { return counter(t, p, "unblocked") == 1 })

	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := call(ctx, p, "block", `[]`)
	wantCode(t, err, core.Timeout)
	eventually(t, "timed out in the plugin", func() bool { return counter(t, p, "unblocked") == 2 })

	// The same for a publish.
	ctx, cancel = context.WithCancel(t.Context())
	go func() { errs <- p.Publish(ctx, &core.Event{Topic: name("block")}) }()
	eventually(t, "blocked", func() bool { return counter(t, p, "blocked") == 3 })
	cancel()
	wantCode(t, <-errs, core.Canceled)
	eventually(t, "canceled in the plugin", func() bool { return counter(t, p, "unblocked") == 3 })

	if got := mustCall(t, p, "deadline", `[]`); got == `["none"]` {
		t.Error("the deadline did not cross")
	}
	r, err := p.Call(context.Background(), &core.Call{Procedure: name("deadline")})
	if err != nil || string(r.Args) != `["none"]` {
		t.Errorf("without deadline: got %+v, %v", r, err)
	}
}

func TestBigPayloads(t *testing.T) {
	const limit = 4 << 20
	p, logged := launch(t, func(s *Spec) { s.Limits.MaxMessage = limit; s.Limits.Window = 1 << 20 })
	fits := `["` + strings.Repeat("x", limit-1024) + `"]`
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := call(patient(t), p, "echo", fits); err != nil || got != fits {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	_, err := call(t.Context(), p, "echo", fits+fits)
	wantCode(t, err, core.TooLarge)
	_, err = call(t.Context(), p, "big", fmt.Sprintf("[%d]", limit))
	wantCode(t, err, core.TooLarge)
	wantCode(t, p.Publish(t.Context(), &core.Event{Topic: name("big"), Payload: core.Payload{Args: json.RawMessage(fits + fits)}}), core.TooLarge)

	s, err := p.Subscribe(t.Context(), exact("big"))
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		mustCall(t, p, "big event", fmt.Sprintf("[%d]", limit-1024))
	}
	mustCall(t, p, "big event", fmt.Sprintf("[%d]", limit))
	mustCall(t, p, "big event", `[1]`)
	events := nextEvents(t, s, 9)
	if len(events) != 9 || string(events[8].Args) != `["x"]` {
		t.Errorf("got %d events", len(events))
	}
	eventually(t, "the loss in the log", func() bool { return logged.find("event lost") != nil })
	if p.Process().Restarts != 0 {
		t.Error("the process was restarted")
	}
}

func TestSlowSubscriptionHoldsUpOnlyItself(t *testing.T) {
	const n = 5000
	p, _ := launch(t, func(s *Spec) { s.Limits.Window = 64 << 10 })
	slow, err := p.Subscribe(t.Context(), exact("echo.slow"))
	if err != nil {
		t.Fatal(err)
	}
	fast, err := p.Subscribe(t.Context(), exact("echo.fast"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		for _, topic := range []string{"slow", "fast"} {
			if err := p.Publish(t.Context(), &core.Event{Topic: name(topic), Payload: core.Payload{Args: json.RawMessage(fmt.Sprintf("[%d]", i))}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(events []*core.Event) {
		t.Helper()
		for i, e := range events {
			if want := fmt.Sprintf("[%d]", i); string(e.Args) != want {
				t.Fatalf("event %d is %s", i, e.Args)
			}
		}
	}
	check(nextEvents(t, fast, n)) // nobody has read slow yet
	if waiting := slow.(*feed[*core.Event]).pipe.Len(); waiting == 0 || waiting > (64<<10)/entryOverhead+1 {
		t.Errorf("%d events wait in the host", waiting)
	}
	// A consumer that does not read can still subscribe and close.
	third, err := p.Subscribe(t.Context(), exact("third"))
	if err != nil {
		t.Fatal(err)
	}
	_ = third.Close()
	check(nextEvents(t, slow, n))
}
