package engine_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

var orders = core.Address{Backend: "wamp", Name: "com.shop.orders"}

// asyncCall is a call of orders whose outcome goes to an endpoint of a token.
func asyncCall(owner string) engine.AsyncCall {
	return engine.AsyncCall{
		Owner: owner, Call: &core.Call{Procedure: orders}, Timeout: time.Minute,
		To: core.Endpoint{URL: "http://" + owner + ".test/results", Retry: []time.Duration{20 * time.Millisecond, 20 * time.Millisecond}},
	}
}

// results collects the outcomes that reached their endpoints.
type results struct {
	mu   sync.Mutex
	got  map[string][]engine.AsyncResult // by call
	fail atomic.Int64                    // so many attempts fail first
}

func (r *results) Send(_ context.Context, a *engine.Attempt) engine.Outcome {
	if r.fail.Add(-1) >= 0 {
		return engine.Outcome{Status: 503, Err: errDown}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.got == nil {
		r.got = map[string][]engine.AsyncResult{}
	}
	r.got[a.Result.CallID] = append(r.got[a.Result.CallID], *a.Result)
	return done
}

func (r *results) of(id string) []engine.AsyncResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got[id])
}

func TestOutcomeOfACallIsDelivered(t *testing.T) {
	to := &results{}
	to.fail.Store(2)
	o := options(t.TempDir(), to)
	o.Call = func(ctx context.Context, c *core.Call) (*core.Result, error) {
		if _, bounded := ctx.Deadline(); !bounded || c.Procedure != orders {
			t.Errorf("call of %s, with a deadline: %v", c.Procedure, bounded)
		}
		return &core.Result{Payload: core.Payload{Args: []byte(`[42]`)}, Details: []byte(`{"by":1}`)}, nil
	}
	e := open(t, o)
	id, err := e.StartCall(t.Context(), asyncCall("a"))
	if err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the outcome", func() bool { return len(to.of(id)) == 1 })
	got := to.of(id)[0]
	if got.Procedure != orders || got.Err != nil || string(got.Result.Args) != `[42]` || string(got.Result.Details) != `{"by":1}` {
		t.Errorf("outcome = %+v", got)
	}
	within(t, 5*time.Second, "the endpoint to be forgotten", func() bool { c := e.Counters(); return c["endpoints_now"] == 0 && c["pending_now"] == 0 })
}

func TestErrorOfACallIsDelivered(t *testing.T) {
	to := &results{}
	o := options(t.TempDir(), to)
	o.Call = func(context.Context, *core.Call) (*core.Result, error) {
		return nil, &core.Error{Code: core.Application, URI: "com.shop.empty", Message: "nothing left", Payload: core.Payload{Args: []byte(`[1]`)}}
	}
	e := open(t, o)
	id, err := e.StartCall(t.Context(), asyncCall("a"))
	if err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the outcome", func() bool { return len(to.of(id)) == 1 })
	if got := to.of(id)[0]; got.Result != nil || got.Err.Code != core.Application || got.Err.URI != "com.shop.empty" || string(got.Err.Args) != `[1]` {
		t.Errorf("outcome = %+v", got)
	}
}

func TestOutcomeThatCannotBeDeliveredIsADeadLetter(t *testing.T) {
	to := &results{}
	to.fail.Store(3)
	e := open(t, options(t.TempDir(), to))
	id, err := e.StartCall(t.Context(), asyncCall("a"))
	if err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "a dead letter", func() bool { return e.Counters()["dead_letters"] == 1 })
	d, err := e.Delivery(t.Context(), "a", id)
	if err != nil || d.State != engine.Failed || d.Subscription != "" || d.Address != orders || d.Attempts != 3 {
		t.Fatalf("dead letter = %+v, %v", d, err)
	}
	if err := e.Replay(t.Context(), "a", id); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the outcome", func() bool { return len(to.of(id)) == 1 })
}

// A bridge that dies during a call owes an outcome all the same.
func TestOutcomeOfACallThatWasCutOffIsUnknown(t *testing.T) {
	dir := t.TempDir()
	to := &results{}
	o := options(dir, to)
	var calls atomic.Int64
	o.Call = func(ctx context.Context, _ *core.Call) (*core.Result, error) {
		calls.Add(1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	e := open(t, o)
	id, err := e.StartCall(t.Context(), asyncCall("a"))
	if err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the call", func() bool { return calls.Load() == 1 })
	closeNow(e)
	if len(to.of(id)) != 0 {
		t.Fatalf("outcome = %+v", to.of(id))
	}
	e = open(t, o)
	within(t, 10*time.Second, "the outcome", func() bool { return len(to.of(id)) == 1 })
	if got := to.of(id)[0]; got.Err == nil || got.Err.Code != core.Unavailable || got.Procedure != orders {
		t.Errorf("outcome = %+v", got)
	}
	within(t, 10*time.Second, "nothing to be owed", func() bool { return e.Counters()["pending_now"] == 0 })
	if calls.Load() != 1 {
		t.Errorf("called %d times", calls.Load())
	}
}

func TestClosingWaitsForCalls(t *testing.T) {
	dir := t.TempDir()
	to := &results{}
	o := options(dir, to)
	started, goOn := make(chan struct{}), make(chan struct{})
	o.Call = func(context.Context, *core.Call) (*core.Result, error) {
		close(started)
		<-goOn
		return &core.Result{}, nil
	}
	e := open(t, o)
	id, err := e.StartCall(t.Context(), asyncCall("a"))
	if err != nil {
		t.Fatal(err)
	}
	<-started
	closed := make(chan error)
	go func() { closed <- e.Close(context.Background()) }()
	within(t, 5*time.Second, "closing to begin", func() bool { return e.Room() != nil })
	if _, err := e.StartCall(t.Context(), asyncCall("a")); core.CodeOf(err) != core.Unavailable {
		t.Errorf("StartCall = %v", err)
	}
	close(goOn)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if len(to.of(id)) == 0 {
		e = open(t, o)
		within(t, 10*time.Second, "the outcome", func() bool { return len(to.of(id)) > 0 })
	}
	if got := to.of(id)[0]; got.Err != nil {
		t.Errorf("outcome = %+v", got.Err)
	}
}

func TestCallsUnderWayAreBounded(t *testing.T) {
	o := options(t.TempDir(), &results{})
	o.MaxCalls = 2
	o.Call = func(ctx context.Context, _ *core.Call) (*core.Result, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	e := open(t, o)
	for range 2 {
		if _, err := e.StartCall(t.Context(), asyncCall("a")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.StartCall(t.Context(), asyncCall("a")); core.CodeOf(err) != core.TooMany || core.AsError(err).RetryAfter == 0 {
		t.Errorf("StartCall = %v", err)
	}
}

// A call that may have been made before is not made again.
func TestACallIsNotMadeAgain(t *testing.T) {
	to := &results{}
	o := options(t.TempDir(), to)
	var calls atomic.Int64
	o.Call = func(context.Context, *core.Call) (*core.Result, error) {
		calls.Add(1)
		return &core.Result{}, nil
	}
	e := open(t, o)
	c := asyncCall("a")
	c.ID, c.Again = "call_1", true
	if id, err := e.StartCall(t.Context(), c); id != "call_1" || err != nil {
		t.Fatal(id, err)
	}
	within(t, 10*time.Second, "the outcome", func() bool { return len(to.of("call_1")) == 1 })
	if got := to.of("call_1")[0]; got.Err == nil || calls.Load() != 0 {
		t.Errorf("outcome = %+v after %d calls", got, calls.Load())
	}
}

func TestIdempotencyKeys(t *testing.T) {
	dir := t.TempDir()
	e := open(t, options(dir, &results{}))
	claim := func(key, fingerprint string) (*engine.Claim, *engine.Answer, error) {
		return e.Claim(t.Context(), "a", key, "evt", []byte(fingerprint))
	}
	first, answer, err := claim("k", "request")
	if err != nil || answer != nil || first.Again || first.ID == "" {
		t.Fatal(first, answer, err)
	}
	if _, _, err := claim("k", "request"); core.CodeOf(err) != core.AlreadyExists {
		t.Errorf("a second request meanwhile: %v", err)
	}
	if err := first.Finish(t.Context(), engine.Answer{Status: 200, Body: []byte(`{"id":"1"}`)}); err != nil {
		t.Fatal(err)
	}
	if _, answer, err := claim("k", "request"); err != nil || answer == nil || answer.Status != 200 || string(answer.Body) != `{"id":"1"}` {
		t.Errorf("a second request: %+v, %v", answer, err)
	}
	if _, _, err := claim("k", "other request"); core.CodeOf(err) != core.KeyReused {
		t.Errorf("another request: %v", err)
	}
	if other, answer, err := e.Claim(t.Context(), "b", "k", "evt", []byte("request")); err != nil || answer != nil || other.ID == first.ID {
		t.Errorf("somebody else's: %+v, %v", answer, err)
	}

	given, _, err := claim("given back", "request")
	if err != nil {
		t.Fatal(err)
	}
	given.Abandon(t.Context(), false)
	if again, answer, err := claim("given back", "other request"); err != nil || answer != nil || again.Again || again.ID == given.ID {
		t.Errorf("after it was given back: %+v, %+v, %v", again, answer, err)
	}

	unknown, _, err := claim("unknown", "request")
	if err != nil {
		t.Fatal(err)
	}
	unknown.Abandon(t.Context(), true)
	if again, _, err := claim("unknown", "request"); err != nil || !again.Again || again.ID != unknown.ID {
		t.Errorf("after it was abandoned: %+v, %v", again, err)
	}

	cut, _, err := claim("cut off", "request")
	if err != nil {
		t.Fatal(err)
	}
	closeNow(e)
	e = open(t, options(dir, &results{}))
	if again, _, err := claim("cut off", "request"); err != nil || !again.Again || again.ID != cut.ID {
		t.Errorf("after a restart: %+v, %v", again, err)
	}
	if _, answer, err := claim("k", "request"); err != nil || answer == nil || answer.Status != 200 {
		t.Errorf("the answer after a restart: %+v, %v", answer, err)
	}
	for _, key := range []string{"", string(make([]byte, engine.MaxKey+1))} {
		if _, _, err := claim(key, ""); core.CodeOf(err) != core.InvalidArgument {
			t.Errorf("a key of %d bytes: %v", len(key), err)
		}
	}
}

func TestOneOfManyRequestsWithAKeyIsWorkedOn(t *testing.T) {
	e := open(t, options(t.TempDir(), &results{}))
	var worked, told atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for {
				claim, answer, err := e.Claim(t.Context(), "a", "k", "evt", []byte("request"))
				var busy *core.Error
				switch {
				case errors.As(err, &busy) && busy.Code == core.AlreadyExists:
					continue
				case err != nil:
					t.Error(err)
				case answer != nil:
					told.Add(1)
				default:
					worked.Add(1)
					if err := claim.Finish(t.Context(), engine.Answer{Status: 201}); err != nil {
						t.Error(err)
					}
				}
				return
			}
		})
	}
	wg.Wait()
	if worked.Load() != 1 || told.Load() != 19 {
		t.Errorf("%d worked on it, %d were told the answer", worked.Load(), told.Load())
	}
}
