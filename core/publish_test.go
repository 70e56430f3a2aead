package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anybridge/anybridge/core"
)

func TestEventOfOthersReachesEverySubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.subscribe(t, sub("a", pattern(core.Exact, "com.x")), sub("b", pattern(core.Prefix, "com.")), sub("c", pattern(core.Exact, "com.y")))
		h.memory.hear(t.Context(), wampEvent("com.x", "[1]"))
		if got, want := h.all(), []string{"a [1]", "b [1]"}; !slices.Equal(got, want) {
			t.Errorf("delivered %q, want %q", got, want)
		}
		for _, o := range h.owed {
			if o.ID != "1" || o.Event.ID != "1" {
				t.Errorf("owed under ID %q, event %q, want the backend's: 1", o.ID, o.Event.ID)
			}
		}
	})
}

func TestAPublishedEventIsOwedWhenPublishReturns(t *testing.T) {
	h := newHouse(t)
	shy := sub("shy", pattern(core.Wildcard, "com..x"))
	shy.ExcludeMe = true
	h.subscribe(t,
		sub("exact", pattern(core.Exact, "com.shop.x")), sub("prefix", pattern(core.Prefix, "com.shop")),
		sub("wild", pattern(core.Wildcard, "com..x")), shy,
		sub("other", pattern(core.Exact, "com.shop.y")), sub("longer", pattern(core.Wildcard, "com...x")))
	for _, tt := range []struct {
		origin  string
		exclude bool
		want    []string
	}{
		{"", false, []string{"exact", "prefix", "shy", "wild"}},
		{"shy", false, []string{"exact", "prefix", "wild"}},
		{"exact", false, []string{"exact", "prefix", "shy", "wild"}},
		{"exact", true, []string{"prefix", "shy", "wild"}},
		{"prefix", true, []string{"exact", "shy", "wild"}},
	} {
		h.owed = nil
		e := wampEvent("com.shop.x", "[1]")
		e.Origin, e.ExcludeMe = tt.origin, tt.exclude
		h.publish(t, e)
		var got []string
		for _, o := range h.owed {
			for _, s := range o.To {
				got = append(got, s.Owner)
				if s.Pattern != o.To[0].Pattern {
					t.Errorf("one debt for %s and %s", s.Pattern, o.To[0].Pattern)
				}
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("published by %q (exclude_me %v): owed to %q, want %q", tt.origin, tt.exclude, got, tt.want)
		}
	}
}

func TestAWithheldEventIsNotOwed(t *testing.T) {
	h := newHouse(t)
	h.subscribe(t, sub("a", pattern(core.Exact, "x")))
	e := wampEvent("x", "[1]")
	e.Options.EligibleAuthRole = []string{"admin"}
	h.publish(t, e)
	if len(h.owed) != 0 || len(h.memory.sent()) != 1 {
		t.Errorf("%d debts, %d events published; want none and one", len(h.owed), len(h.memory.sent()))
	}
}

func TestNothingIsPublishedWithoutRoom(t *testing.T) {
	h := newHouse(t)
	h.subscribe(t, sub("a", pattern(core.Exact, "x")))
	h.room = core.Errorf(core.TooMany, "the store is full")
	if err := h.Publish(t.Context(), wampEvent("x", "[1]")); core.CodeOf(err) != core.TooMany {
		t.Errorf("Publish = %v", err)
	}
	if n := len(h.memory.sent()); n != 0 {
		t.Errorf("%d events published", n)
	}
	h.publish(t, wampEvent("y", "[1]")) // nobody here is owed this one
	if n := len(h.memory.sent()); n != 1 {
		t.Errorf("%d events published, want the one that needs no room", n)
	}
}

func TestNothingIsOwedWhenTheBackendRefuses(t *testing.T) {
	h := newHouse(t)
	h.subscribe(t, sub("a", pattern(core.Exact, "x")))
	h.memory.down = core.Errorf(core.Unavailable, "no connection")
	if err := h.Publish(t.Context(), wampEvent("x", "[1]")); core.CodeOf(err) != core.Unavailable {
		t.Errorf("Publish = %v", err)
	}
	if len(h.owed) != 0 {
		t.Errorf("owed %v", h.owed)
	}
}

func TestStoringThatFailsAfterPublishingIsSaid(t *testing.T) {
	h := newHouse(t)
	h.subscribe(t, sub("a", pattern(core.Exact, "x")))
	h.fail = 1
	err := h.Publish(t.Context(), wampEvent("x", "[1]"))
	if core.CodeOf(err) != core.Unavailable || !strings.Contains(err.Error(), `backend "wamp" has the event`) || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("Publish = %v", err)
	}
	if n := len(h.memory.sent()); n != 1 {
		t.Errorf("%d events published, want 1", n)
	}
}

// slow stands for a Deliverer that takes its time.
type slow struct {
	inbox
	started chan struct{}
	goOn    chan struct{}
}

func (s *slow) Deliver(ctx context.Context, owed []core.Owed) error {
	close(s.started)
	select {
	case <-s.goOn:
		return s.inbox.Deliver(ctx, owed)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestHangingUpDoesNotKeepAnEventFromTheSubscribers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		s := &slow{inbox: inbox{delivered: make(chan string, 10)}, started: make(chan struct{}), goOn: make(chan struct{})}
		b := core.NewBridge(core.BridgeOptions{DefaultBackend: "wamp", Deliverer: s, Invoker: s})
		info, _ := h.memory.Open(t.Context(), nil)
		b.SetBackend("wamp", h.memory, info)
		if err := b.Subscribe(t.Context(), []*core.Subscription{sub("a", pattern(core.Exact, "x"))}); err != nil {
			t.Fatal(err)
		}
		ctx, hangUp := context.WithCancel(t.Context())
		go func() {
			<-s.started
			hangUp()
			time.Sleep(time.Second)
			close(s.goOn)
		}()
		if err := b.Publish(ctx, wampEvent("x", "[1]")); err != nil {
			t.Errorf("Publish = %v", err)
		}
		if len(s.owed) != 1 {
			t.Errorf("owed %v", s.owed)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAnIDThatWasSetIsKept(t *testing.T) {
	h := newHouse(t)
	h.subscribe(t, sub("a", pattern(core.Exact, "x")))
	named := wampEvent("x", "[1]")
	named.ID = "order-4711"
	h.publish(t, named)
	h.publish(t, wampEvent("x", "[2]"))
	if named.ID != "order-4711" || h.owed[0].Event.ID != "order-4711" || h.owed[0].ID != "1" {
		t.Errorf("named event: ID %q, owed as %q under %q; want order-4711 under the backend's ID 1", named.ID, h.owed[0].Event.ID, h.owed[0].ID)
	}
	if h.owed[1].Event.ID != "2" || h.owed[1].ID != "2" {
		t.Errorf("other event: owed as %q under %q, want the backend's ID 2 for both", h.owed[1].Event.ID, h.owed[1].ID)
	}
	if e := h.memory.sent()[1]; !strings.HasPrefix(e.ID, "evt_") || e.Time.IsZero() {
		t.Errorf("the backend was given ID %q and time %v", e.ID, e.Time)
	}
}

func TestPublishCountsWhatIsOwed(t *testing.T) {
	h := newHouse(t)
	h.subscribe(t, sub("a", pattern(core.Exact, "x")), sub("b", pattern(core.Prefix, "x")))
	h.publish(t, wampEvent("x", "[1]"))
	if s := h.Stats(); s.EventsOut.Load() != 1 || s.Deliveries.Load() != 2 {
		t.Errorf("events out %d, deliveries %d; want 1, 2", s.EventsOut.Load(), s.Deliveries.Load())
	}
}

// shelf is a registry in memory.
type shelf struct {
	subs map[string]*core.Subscription
	regs map[string]*core.Registration
	err  error // what Save and Delete answer
}

func newShelf() *shelf {
	return &shelf{subs: map[string]*core.Subscription{}, regs: map[string]*core.Registration{}}
}

func (s *shelf) Save(_ context.Context, subs []*core.Subscription, regs []*core.Registration) error {
	if s.err != nil {
		return s.err
	}
	for _, x := range subs {
		s.subs[x.ID()] = x
	}
	for _, x := range regs {
		s.regs[x.ID()] = x
	}
	return nil
}

func (s *shelf) Delete(_ context.Context, subs []*core.Subscription, regs []*core.Registration) error {
	if s.err != nil {
		return s.err
	}
	for _, x := range subs {
		delete(s.subs, x.ID())
	}
	for _, x := range regs {
		delete(s.regs, x.ID())
	}
	return nil
}

func (s *shelf) Subscription(id string) *core.Subscription { return s.subs[id] }
func (s *shelf) Registration(id string) *core.Registration { return s.regs[id] }

var errShelf = core.Errorf(core.Unavailable, "the store is away")

func TestWhatCannotBeKeptIsNotEstablished(t *testing.T) {
	kept := newShelf()
	h := newHouseWith(t, kept)
	h.subscribe(t, sub("old", pattern(core.Exact, "x")))
	kept.err = errShelf
	err := h.Subscribe(t.Context(), []*core.Subscription{sub("a", pattern(core.Exact, "x")), sub("a", pattern(core.Exact, "y"))})
	if !errors.Is(err, errShelf) {
		t.Errorf("Subscribe = %v", err)
	}
	err = h.Register(t.Context(), []*core.Registration{reg("a", "p", "")})
	if !errors.Is(err, errShelf) {
		t.Errorf("Register = %v", err)
	}
	if subs, regs := h.memory.patterns(); subs != 1 || regs != 0 {
		t.Errorf("%d subscriptions and %d registrations on the backend, want 1 and 0", subs, regs)
	}
	if len(h.Subscriptions("a")) != 0 || len(h.Registrations("a")) != 0 {
		t.Errorf("a holds %v, %v", h.Subscriptions("a"), h.Registrations("a"))
	}
	if _, err := h.Unsubscribe(t.Context(), "old", []core.Pattern{pattern(core.Exact, "x")}); !errors.Is(err, errShelf) {
		t.Errorf("Unsubscribe = %v", err)
	}
	if len(h.Subscriptions("old")) != 1 {
		t.Error("a subscription that is still kept has left the tables")
	}
}

func TestWhatIsEstablishedIsKept(t *testing.T) {
	kept := newShelf()
	h := newHouseWith(t, kept)
	s, r := sub("a", pattern(core.Prefix, "x")), reg("a", "p", "")
	h.subscribe(t, s)
	if err := h.Register(t.Context(), []*core.Registration{r}); err != nil {
		t.Fatal(err)
	}
	if kept.Subscription(s.ID()) != s || kept.Registration(r.ID()) != r {
		t.Errorf("kept: %v, %v", kept.subs, kept.regs)
	}
	if n, err := h.RemoveOwner(t.Context(), "a"); n != 2 || err != nil {
		t.Errorf("RemoveOwner = %d, %v", n, err)
	}
	if len(kept.subs) != 0 || len(kept.regs) != 0 {
		t.Errorf("kept after all: %v, %v", kept.subs, kept.regs)
	}
}

func TestTheTablesFollowTheRegistry(t *testing.T) {
	kept := newShelf()
	h := newHouseWith(t, kept)
	h.invoke = func(context.Context, *core.Registration, *core.Invocation) (*core.Result, error) {
		return &core.Result{Payload: core.Payload{Args: json.RawMessage(`[]`)}}, nil
	}
	s, r := sub("a", pattern(core.Exact, "x")), reg("a", "p", "")
	sync := func() {
		t.Helper()
		if err := h.SyncSubscription(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if err := h.SyncRegistration(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(subs, regs int, url string) {
		t.Helper()
		onBackendSubs, onBackendRegs := h.memory.patterns()
		gotSubs, gotRegs := h.Subscriptions("a"), h.Registrations("a")
		if len(gotSubs) != subs || len(gotRegs) != regs || onBackendSubs != subs || onBackendRegs != regs {
			t.Fatalf("holds %v and %v, the backend %d and %d; want %d and %d", gotSubs, gotRegs, onBackendSubs, onBackendRegs, subs, regs)
		}
		if subs > 0 && (gotSubs[0].Endpoint.URL != url || gotRegs[0].Endpoint.URL != url) {
			t.Errorf("endpoints %q and %q, want %q", gotSubs[0].Endpoint.URL, gotRegs[0].Endpoint.URL, url)
		}
	}
	sync()
	holds(0, 0, "")
	_ = kept.Save(t.Context(), []*core.Subscription{s}, []*core.Registration{r})
	sync()
	holds(1, 1, s.Endpoint.URL)
	otherSub, otherReg := *s, *r
	otherSub.Endpoint.URL, otherReg.Endpoint.URL = "http://new/", "http://new/"
	_ = kept.Save(t.Context(), []*core.Subscription{&otherSub}, []*core.Registration{&otherReg})
	sync()
	holds(1, 1, "http://new/")
	_ = kept.Delete(t.Context(), []*core.Subscription{s}, []*core.Registration{r})
	sync()
	holds(0, 0, "")
}

func TestABindingWhoseBackendIsMissingStaysKept(t *testing.T) {
	kept := newShelf()
	h := newHouseWith(t, kept)
	p := core.Pattern{Address: core.Address{Backend: "redis", Name: "x"}, Match: core.Exact}
	s, r := sub("a", p), &core.Registration{Owner: "a", Pattern: p}
	_ = kept.Save(t.Context(), []*core.Subscription{s}, []*core.Registration{r})
	if err := h.SyncSubscription(t.Context(), s); core.CodeOf(err) != core.NoSuchBackend {
		t.Errorf("SyncSubscription = %v", err)
	}
	if err := h.SyncRegistration(t.Context(), r); core.CodeOf(err) != core.NoSuchBackend {
		t.Errorf("SyncRegistration = %v", err)
	}
	if len(kept.subs) != 1 || len(kept.regs) != 1 {
		t.Errorf("kept: %v, %v", kept.subs, kept.regs)
	}
}

func TestWhatIsKeptButNotInTheTablesCanBeRemoved(t *testing.T) {
	kept := newShelf()
	h := newHouseWith(t, kept)
	s, r := sub("a", pattern(core.Exact, "x")), reg("a", "p", "")
	_ = kept.Save(t.Context(), []*core.Subscription{s}, []*core.Registration{r})
	if unknown, err := h.Unsubscribe(t.Context(), "b", []core.Pattern{s.Pattern}); len(unknown) != 1 || err != nil {
		t.Errorf("Unsubscribe by somebody else = %v, %v", unknown, err)
	}
	if unknown, err := h.Unsubscribe(t.Context(), "a", []core.Pattern{s.Pattern}); len(unknown) != 0 || err != nil {
		t.Errorf("Unsubscribe = %v, %v", unknown, err)
	}
	if unknown, err := h.Unregister(t.Context(), "a", []core.Pattern{r.Pattern}); len(unknown) != 0 || err != nil {
		t.Errorf("Unregister = %v, %v", unknown, err)
	}
	if len(kept.subs) != 0 || len(kept.regs) != 0 {
		t.Errorf("kept: %v, %v", kept.subs, kept.regs)
	}
}
