package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anybridge/anybridge/core"
)

// inbox takes deliveries and answers invocations as a test tells it to.
type inbox struct {
	delivered chan string // "owner event-payload"
	room      error       // what Room answers
	fail      int         // Deliver fails so many times first
	large     string      // the payload that is too large
	invoke    func(ctx context.Context, r *core.Registration, inv *core.Invocation) (*core.Result, error)

	mu   sync.Mutex
	owed []core.Owed // everything that was delivered
}

func (i *inbox) Room() error { return i.room }

func (i *inbox) Deliver(_ context.Context, owed []core.Owed) error {
	if i.fail > 0 {
		i.fail--
		return errors.New("the disk is gone")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, o := range owed {
		if i.large != "" && string(o.Event.Args) == i.large {
			return core.Errorf(core.TooLarge, "the event is too large")
		}
	}
	for _, o := range owed {
		event := *o.Event
		i.owed = append(i.owed, core.Owed{Event: &event, ID: o.ID, To: slices.Clone(o.To)})
		for _, s := range o.To {
			i.delivered <- s.Owner + " " + string(o.Event.Args)
		}
	}
	return nil
}

func (i *inbox) Invoke(ctx context.Context, r *core.Registration, inv *core.Invocation) (*core.Result, error) {
	return i.invoke(ctx, r, inv)
}

type house struct {
	*core.Bridge
	*inbox
	memory *memory
}

func newHouse(t *testing.T) *house {
	t.Helper()
	return newHouseWith(t, nil)
}

// newHouseWith makes a house that keeps what is subscribed and registered in r.
func newHouseWith(t *testing.T, r core.Registry) *house {
	t.Helper()
	in := &inbox{delivered: make(chan string, 1000)}
	h := &house{inbox: in, memory: &memory{refuse: map[string]error{}}}
	h.Bridge = core.NewBridge(core.BridgeOptions{
		DefaultBackend: "wamp", Deliverer: in, Registry: r, Invoker: in, Log: slog.New(slog.DiscardHandler),
	})
	info, _ := h.memory.Open(t.Context(), nil)
	h.SetBackend("wamp", h.memory, info)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *house) subscribe(t *testing.T, subs ...*core.Subscription) {
	t.Helper()
	if err := h.Subscribe(t.Context(), subs); err != nil {
		t.Fatal(err)
	}
}

func (h *house) publish(t *testing.T, e *core.Event) {
	t.Helper()
	if err := h.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

// all returns what was delivered once everything has settled.
func (h *house) all() []string {
	synctest.Wait()
	var got []string
	for len(h.delivered) > 0 {
		got = append(got, <-h.delivered)
	}
	slices.Sort(got)
	return got
}

func sub(owner string, p core.Pattern) *core.Subscription {
	return &core.Subscription{Owner: owner, Pattern: p, Endpoint: core.Endpoint{URL: "http://" + owner + "/"}}
}

func reg(owner, name, invoke string) *core.Registration {
	return &core.Registration{Owner: owner, Pattern: pattern(core.Exact, name), Invoke: invoke, Endpoint: core.Endpoint{URL: "http://" + owner + "/"}}
}

func wampEvent(topic, args string) *core.Event {
	return &core.Event{Topic: wampName(topic), Payload: core.Payload{Args: json.RawMessage(args)}}
}

func TestEventReachesEverySubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.subscribe(t, sub("a", pattern(core.Exact, "com.x")), sub("b", pattern(core.Prefix, "com.")))
		h.subscribe(t, sub("c", pattern(core.Exact, "com.x")), sub("d", pattern(core.Wildcard, ".y")))
		h.publish(t, wampEvent("com.x", "[1]"))
		if got, want := h.all(), []string{"a [1]", "b [1]", "c [1]"}; !slices.Equal(got, want) {
			t.Errorf("delivered %q, want %q", got, want)
		}
		if subs, _ := h.memory.patterns(); subs != 3 {
			t.Errorf("%d subscriptions on the backend, want one per distinct pattern: 3", subs)
		}
	})
}

func TestSubscribingAgainReplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		first, second := sub("a", pattern(core.Exact, "x")), sub("a", pattern(core.Exact, "x"))
		second.Endpoint.URL = "http://new/"
		h.subscribe(t, first)
		h.subscribe(t, second)
		if got := h.Subscriptions("a"); len(got) != 1 || got[0] != second || first.ID() != second.ID() {
			t.Errorf("holds %v", got)
		}
		h.publish(t, wampEvent("x", "[1]"))
		if got := h.all(); len(got) != 1 {
			t.Errorf("delivered %q, want one", got)
		}
	})
}

func TestSubscribeIsAllOrNone(t *testing.T) {
	h := newHouse(t)
	h.memory.refuse["bad"] = core.Errorf(core.Forbidden, "not yours")
	err := h.Subscribe(t.Context(), []*core.Subscription{sub("a", pattern(core.Exact, "good")), sub("a", pattern(core.Exact, "bad"))})
	if core.CodeOf(err) != core.Forbidden {
		t.Errorf("Subscribe = %v", err)
	}
	if subs, _ := h.memory.patterns(); subs != 0 || len(h.Subscriptions("")) != 0 {
		t.Errorf("%d subscriptions are left behind", subs)
	}
}

func TestUnsubscribeNamesWhatItDidNotFind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.subscribe(t, sub("a", pattern(core.Exact, "x")), sub("b", pattern(core.Exact, "x")))
		unknown, err := h.Unsubscribe(t.Context(), "a", []core.Pattern{pattern(core.Exact, "x"), pattern(core.Exact, "y")})
		if err != nil || !slices.Equal(unknown, []core.Pattern{pattern(core.Exact, "y")}) {
			t.Errorf("Unsubscribe = %v, %v", unknown, err)
		}
		h.publish(t, wampEvent("x", "[1]"))
		if got := h.all(); !slices.Equal(got, []string{"b [1]"}) {
			t.Errorf("delivered %q", got)
		}
		if _, err := h.RemoveOwner(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		if subs, _ := h.memory.patterns(); subs != 0 {
			t.Errorf("%d subscriptions are left on the backend", subs)
		}
	})
}

func TestExcludeMe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		shy := sub("shy", pattern(core.Exact, "x"))
		shy.ExcludeMe = true
		h.subscribe(t, shy, sub("a", pattern(core.Exact, "x")))
		for _, tt := range []struct {
			event *core.Event
			want  []string
		}{
			{&core.Event{Origin: "a"}, []string{"a ", "shy "}},
			{&core.Event{Origin: "a", ExcludeMe: true}, []string{"shy "}},
			{&core.Event{Origin: "shy"}, []string{"a "}},
			{&core.Event{Origin: "other", ExcludeMe: true}, []string{"a ", "shy "}},
			{&core.Event{}, []string{"a ", "shy "}},
		} {
			tt.event.Topic = wampName("x")
			h.publish(t, tt.event)
			if got := h.all(); !slices.Equal(got, tt.want) {
				t.Errorf("published by %q: delivered %q, want %q", tt.event.Origin, got, tt.want)
			}
		}
	})
}

func TestAnEventOfOthersIsNotGivenUpWhenDeliverFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.fail = 3
		h.subscribe(t, sub("a", pattern(core.Exact, "x")))
		h.memory.hear(t.Context(), wampEvent("x", "[1]"))
		time.Sleep(time.Minute)
		if got := h.all(); len(got) != 1 {
			t.Errorf("delivered %q", got)
		}
	})
}

func TestAnEventThatIsTooLargeHoldsUpNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.large = "[2]"
		h.subscribe(t, sub("a", pattern(core.Exact, "x")))
		for _, args := range []string{"[1]", "[2]", "[3]"} {
			h.memory.hear(t.Context(), wampEvent("x", args))
		}
		if got, want := h.all(), []string{"a [1]", "a [3]"}; !slices.Equal(got, want) {
			t.Errorf("delivered %q, want %q", got, want)
		}
	})
}

func TestCallReachesTheEndpoint(t *testing.T) {
	h := newHouse(t)
	h.invoke = func(_ context.Context, r *core.Registration, inv *core.Invocation) (*core.Result, error) {
		if string(inv.Args) == `["boom"]` {
			return nil, &core.Error{Code: core.Application, URI: "com.boom", Payload: inv.Payload}
		}
		return &core.Result{Payload: core.Payload{Args: json.RawMessage(`["` + r.Owner + `"]`)}}, nil
	}
	if err := h.Register(t.Context(), []*core.Registration{reg("a", "p", "")}); err != nil {
		t.Fatal(err)
	}
	result, err := h.Call(t.Context(), &core.Call{Procedure: wampName("p")})
	if err != nil || string(result.Args) != `["a"]` {
		t.Errorf("Call = %v, %v", result, err)
	}
	_, err = h.Call(t.Context(), &core.Call{Procedure: wampName("p"), Payload: core.Payload{Args: json.RawMessage(`["boom"]`)}})
	if e := core.AsError(err); e.Code != core.Application || e.URI != "com.boom" || string(e.Args) != `["boom"]` {
		t.Errorf("Call = %v", err)
	}
	if _, err = h.Call(t.Context(), &core.Call{Procedure: wampName("nope")}); core.CodeOf(err) != core.NoSuchProcedure {
		t.Errorf("Call = %v", err)
	}
	if _, err = h.Call(t.Context(), &core.Call{Procedure: core.Address{Backend: "redis", Name: "p"}}); core.CodeOf(err) != core.NoSuchBackend {
		t.Errorf("Call = %v", err)
	}
}

func TestCancellingACallEndsItsInvocation(t *testing.T) {
	h := newHouse(t)
	started, ended := make(chan struct{}), make(chan struct{})
	h.invoke = func(ctx context.Context, _ *core.Registration, _ *core.Invocation) (*core.Result, error) {
		close(started)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}
	if err := h.Register(t.Context(), []*core.Registration{reg("a", "p", "")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	if _, err := h.Call(ctx, &core.Call{Procedure: wampName("p")}); !errors.Is(err, context.Canceled) {
		t.Errorf("Call = %v", err)
	}
	<-ended
}

func TestAProcedureBelongsToOneTokenUnlessShared(t *testing.T) {
	h := newHouse(t)
	h.invoke = func(_ context.Context, r *core.Registration, _ *core.Invocation) (*core.Result, error) {
		return &core.Result{Payload: core.Payload{Args: json.RawMessage(`"` + r.Owner + `"`)}}, nil
	}
	try := func(r *core.Registration) core.Code {
		return core.CodeOf(h.Register(t.Context(), []*core.Registration{r}))
	}
	for i, tt := range []struct {
		r    *core.Registration
		want core.Code
	}{
		{reg("a", "p", ""), ""},
		{reg("a", "p", "single"), ""},
		{reg("b", "p", ""), core.AlreadyExists},
		{reg("b", "p", "roundrobin"), core.AlreadyExists},
		{reg("a", "p", "roundrobin"), ""}, // the only owner may change the policy
		{reg("b", "p", "random"), core.AlreadyExists},
		{reg("b", "p", "roundrobin"), ""},
		{reg("b", "p", "nonsense"), core.Unimplemented},
	} {
		if got := try(tt.r); got != tt.want {
			t.Errorf("%d: Register(%s, %q) = %q, want %q", i, tt.r.Owner, tt.r.Invoke, got, tt.want)
		}
	}
	seen := map[string]int{}
	for range 10 {
		result, err := h.Call(t.Context(), &core.Call{Procedure: wampName("p")})
		if err != nil {
			t.Fatal(err)
		}
		seen[string(result.Args)]++
	}
	if seen[`"a"`] != 5 || seen[`"b"`] != 5 {
		t.Errorf("roundrobin called %v", seen)
	}
	if _, regs := h.memory.patterns(); regs != 1 {
		t.Errorf("%d registrations on the backend, want 1", regs)
	}
}

func TestRegisterIsAllOrNone(t *testing.T) {
	h := newHouse(t)
	h.memory.refuse["bad"] = core.Errorf(core.AlreadyExists, "taken")
	err := h.Register(t.Context(), []*core.Registration{reg("a", "good", ""), reg("a", "bad", "")})
	if core.CodeOf(err) != core.AlreadyExists {
		t.Errorf("Register = %v", err)
	}
	if _, regs := h.memory.patterns(); regs != 0 || len(h.Registrations("")) != 0 {
		t.Errorf("%d registrations are left behind", regs)
	}
}

func TestWhatABackendCannotDoIsNotTried(t *testing.T) {
	h := newHouse(t)
	h.SetBackend("mute", &memory{}, core.Info{})
	at := core.Address{Backend: "mute", Name: "x"}
	p := core.Pattern{Address: at, Match: core.Exact}
	for what, err := range map[string]error{
		"publish":   h.Publish(t.Context(), &core.Event{Topic: at}),
		"retain":    h.Publish(t.Context(), &core.Event{Topic: wampName("x"), Options: core.PublishOptions{Retain: true}}),
		"subscribe": h.Subscribe(t.Context(), []*core.Subscription{sub("a", p)}),
		"register":  h.Register(t.Context(), []*core.Registration{{Owner: "a", Pattern: p}}),
		"call":      func() error { _, err := h.Call(t.Context(), &core.Call{Procedure: at}); return err }(),
	} {
		if core.CodeOf(err) != core.Unimplemented {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestABackendIsReplacedUnderTraffic(t *testing.T) {
	h := newHouse(t)
	info, _ := h.memory.Open(t.Context(), nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = h.Publish(context.Background(), wampEvent("x", "[1]"))
					_, _ = h.Call(context.Background(), &core.Call{Procedure: wampName("p")})
					_ = h.Backends()
				}
			}
		})
	}
	for range 1000 {
		h.SetBackend("wamp", h.memory, info)
		if err := h.Subscribe(t.Context(), []*core.Subscription{sub("a", pattern(core.Exact, "y"))}); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := core.NewPipe[int](3, 100, nil)
		for i := range 3 {
			if !p.TryPut(i, 10) {
				t.Fatal("no room")
			}
		}
		if p.TryPut(3, 1) {
			t.Error("more than maxItems")
		}
		go func() {
			for i := range 5 {
				if err := p.Put(context.Background(), 3+i, 90); err != nil {
					t.Error(err)
				}
			}
			p.End(nil)
		}()
		var got []int
		for {
			batch, err := p.Next(t.Context())
			if err != nil {
				break
			}
			got = append(got, batch...)
		}
		if fmt.Sprint(got) != "[0 1 2 3 4 5 6 7]" {
			t.Errorf("got %v", got)
		}
		if err := p.Put(t.Context(), 1, 1); err == nil {
			t.Error("Put after the end succeeds")
		}
	})
}

func TestPipePutEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := core.NewPipe[int](1, 0, nil)
		p.TryPut(1, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Put(ctx, 2, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Put = %v", err)
		}
	})
}
