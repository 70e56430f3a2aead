package kit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// broker is a system of which Topics asks for topics.
type broker struct {
	*kit.Topics[string]
	link *kit.Link

	mu     sync.Mutex
	asked  []string
	refuse error
}

func newBroker() *broker {
	b := &broker{link: kit.NewLink(kit.LinkOptions{Name: "the broker"})}
	note := func(what string) func(context.Context, kit.Topic) error {
		return func(_ context.Context, topic kit.Topic) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.asked = append(b.asked, fmt.Sprintf("%s %s %d", what, topic.Name, topic.ID))
			return b.refuse
		}
	}
	b.Topics = kit.NewTopics(b.link, kit.TopicsOptions[string]{
		Subscribe: note("+"), Unsubscribe: note("-"), MaxEvents: 10,
		Event: func(m string) *core.Event { return &core.Event{ID: m, Topic: core.Address{Name: m}} },
		Invocation: func(m string) *core.Invocation {
			return &core.Invocation{ID: m, Reply: func(_ *core.Result, err error) { b.asked = append(b.asked, m+" "+string(core.CodeOf(err))) }}
		},
	})
	return b
}

func (b *broker) wantAsked(t *testing.T, want ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	equal(t, "asked", b.asked, want)
	b.asked = nil
}

func TestTopics(t *testing.T) {
	b := newBroker()
	if _, err := b.Feed(t.Context(), "a/#", pattern("a.b")); core.CodeOf(err) != core.Unavailable {
		t.Error(err)
	}
	b.wantAsked(t)
	if err := b.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	one, err := b.Feed(t.Context(), "a/#", pattern("a.b"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := b.Feed(t.Context(), "a/#", pattern("a.c"))
	if err != nil {
		t.Fatal(err)
	}
	b.wantAsked(t, "+ a/# 2", "+ a/# 2")
	for _, m := range []string{"a.b", "a.c", "a.d", "a.b"} {
		b.Deliver(2, m)
		b.Deliver(1, m) // whose subscription failed
	}
	equal(t, "one", told(t, one, 1), []string{"a.b", "a.b"})
	equal(t, "two", told(t, two, 1), []string{"a.c"})

	b.link.Lost(errors.New("gone"))
	if err := b.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantAsked(t, "+ a/# 2")
	equal(t, "one", told(t, one, 1), []string{"gap:0"})
	equal(t, "two", told(t, two, 1), []string{"gap:0"})

	_ = one.Close()
	b.wantAsked(t)
	_ = two.Close()
	_ = two.Close()
	b.wantAsked(t, "- a/# 2")
	if _, err := b.Feed(t.Context(), "b", pattern("b")); err != nil {
		t.Error(err)
	}
	b.wantAsked(t, "+ b 3")
	s := core.Status{Counters: map[string]int64{}}
	b.Count(s)
	equal(t, "events", s.Counters["events_in"], 3)
}

func TestTopicsOfCalls(t *testing.T) {
	b := newBroker()
	if err := b.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	calls, err := b.Calls(t.Context(), "rpc/add", core.Address{Backend: "x", Name: "add"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Calls(t.Context(), "rpc/add", core.Address{Backend: "x", Name: "add"}); core.CodeOf(err) != core.AlreadyExists {
		t.Error(err)
	}
	b.wantAsked(t, "+ rpc/add 1")
	b.Deliver(1, "first")
	batch, err := calls.Next(t.Context())
	if err != nil || len(batch) != 1 || batch[0].Procedure.Name != "add" {
		t.Fatal(batch, err)
	}
	b.End()
	b.wantAsked(t, "first unavailable")
	if _, err := b.Feed(t.Context(), "b", pattern("b")); core.CodeOf(err) != core.Unavailable {
		t.Error(err)
	}
}

// Those who come and go at once leave the system as the last one of them wants it.
func TestTopicsComeAndGo(t *testing.T) {
	b := newBroker()
	if err := b.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				f, err := b.Feed(t.Context(), "a", pattern("a"))
				if err != nil {
					t.Error(err)
					return
				}
				_ = f.Close()
			}
		})
	}
	all.Wait()
	if last := b.asked[len(b.asked)-1]; last[0] != '-' {
		t.Errorf("the last request was %s", last)
	}
	if slices.Index(b.asked, "+ a 1") < 0 {
		t.Error("nothing was asked for")
	}
}

func TestTopicsRefused(t *testing.T) {
	b := newBroker()
	b.link.Up()
	b.refuse = errors.New("no")
	if _, err := b.Feed(t.Context(), "a", pattern("a")); core.CodeOf(err) != core.Unavailable {
		t.Error(err)
	}
	b.wantAsked(t, "+ a 1", "- a 1") // which might have been accepted
}
