package kit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func pattern(name string) core.Pattern {
	return core.Pattern{Address: core.Address{Backend: "x", Name: name}, Match: core.Exact}
}

func event(id int) *core.Event {
	return &core.Event{ID: fmt.Sprint(id), Topic: core.Address{Backend: "x", Name: "t"}}
}

// told is what a stream hands out: ids, and "gap:lost".
func told(t *testing.T, s core.Stream[*core.Event], batches int) (all []string) {
	t.Helper()
	for range batches {
		events, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Gap != nil {
				all = append(all, fmt.Sprintf("gap:%d", e.Gap.Lost))
			} else {
				all = append(all, e.ID)
			}
		}
	}
	return all
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

func TestFeedTellsWhatItDrops(t *testing.T) {
	var counts kit.FeedCounts
	f := kit.NewFeed(pattern("t"), 3, 0, &counts, nil)
	for i := range 5 {
		f.Put(event(i))
	}
	equal(t, "what had room", told(t, f, 1), []string{"0", "1", "2"})
	equal(t, "what had not", told(t, f, 1), []string{"gap:2"}) // though nothing more comes in
	for i := range 5 {
		f.Put(event(i))
	}
	equal(t, "again", told(t, f, 1), []string{"0", "1", "2"})
	f.Put(event(9))
	equal(t, "the gap comes first", told(t, f, 1), []string{"gap:2", "9"})
	equal(t, "events", counts.Events.Load(), 7)
	equal(t, "dropped", counts.Dropped.Load(), 4)
	equal(t, "gaps", counts.Gaps.Load(), 2)
}

func TestFeedMergesGaps(t *testing.T) {
	f := kit.NewFeed(pattern("t"), 1, 0, nil, nil)
	begin := time.Now()
	f.Put(event(0))
	f.Put(event(1))
	f.Missed(core.Gap{Since: begin.Add(-time.Hour), Until: begin, Lost: 2, Reason: "the server said so"})
	f.Put(event(2))
	equal(t, "events", told(t, f, 1), []string{"0"})
	events, err := f.Next(t.Context())
	if err != nil || len(events) != 1 || events[0].Gap == nil {
		t.Fatal(events, err)
	}
	g := events[0].Gap
	equal(t, "lost", g.Lost, 4)
	equal(t, "reason", g.Reason, "the server said so")
	if !g.Since.Equal(begin.Add(-time.Hour)) || g.Until.Before(begin) {
		t.Errorf("got %+v", g)
	}
}

func TestFeedWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := kit.NewFeed(pattern("t"), 1, 0, nil, nil)
		f.Put(event(0))
		f.Put(event(1)) // dropped
		go func() {
			time.Sleep(time.Minute)
			equal(t, "first", told(t, f, 1), []string{"0"})
			equal(t, "then", told(t, f, 1), []string{"gap:1"})
		}()
		if err := f.Wait(t.Context(), event(2)); err != nil {
			t.Error(err)
		}
		equal(t, "at last", told(t, f, 1), []string{"2"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f.Put(event(3))
		if err := f.Wait(ctx, event(4)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		f.End(nil)
		equal(t, "the rest", told(t, f, 1), []string{"3"})
		if _, err := f.Next(t.Context()); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

// answers collects the codes of answers by name.
type answers map[string]core.Code

func (a answers) call(name string) *core.Invocation {
	return &core.Invocation{ID: name, Reply: func(_ *core.Result, err error) { a[name] += core.CodeOf(err) + "." }}
}

func TestCallsAnswerEverybody(t *testing.T) {
	a := answers{}
	closed := 0
	c := kit.NewCalls(2, 0, func() { closed++ })
	for _, name := range []string{"taken", "answered"} {
		c.Put(a.call(name))
	}
	c.Put(a.call("too many"))
	batch, err := c.Next(t.Context())
	if err != nil || len(batch) != 2 {
		t.Fatal(batch, err)
	}
	batch[1].Reply(nil, nil)
	batch[1].Reply(nil, errors.New("ignored"))
	c.Put(a.call("waiting"))
	equal(t, "open", c.Open(), 2)
	_ = c.Close()
	_ = c.Close()
	c.Put(a.call("late"))
	equal(t, "closed", closed, 1)
	equal(t, "answers", a, answers{"answered": ".", "late": "unavailable.", "too many": "too_many_requests.", "waiting": "unavailable."})
	c.End()
	equal(t, "answers", a["taken"], "unavailable.")
	equal(t, "open", c.Open(), 0)
}
