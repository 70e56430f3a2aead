package plugins

import (
	"context"
	"log/slog"
	"testing"

	"github.com/anybridge/anybridge/core"
)

// openFeed opens a feed with a plugin that exists only here.
func openFeed(t *testing.T, limits Limits) (*feedTable[*core.Event], *feed[*core.Event]) {
	t.Helper()
	table := newFeedTable(limits.withDefaults(), eventSize, nil, slog.New(&records{}))
	outbox := core.NewPipe[feedMessage](0, 0, nil)
	table.attach(outbox)
	go func() {
		for m := range nextMessages(outbox) {
			if m.open != nil {
				table.opened(m.open.GetId(), false, nil)
				return
			}
		}
	}()
	f, err := table.add(patient(t), exact("a"), "")
	if err != nil {
		t.Fatal(err)
	}
	return table, f
}

func nextMessages(outbox *core.Pipe[feedMessage]) func(func(feedMessage) bool) {
	return func(yield func(feedMessage) bool) {
		for {
			messages, err := outbox.Next(context.Background())
			if err != nil {
				return
			}
			for _, m := range messages {
				if !yield(m) {
					return
				}
			}
		}
	}
}

func TestPluginThatIgnoresItsCredit(t *testing.T) {
	table, f := openFeed(t, Limits{Window: 1000, MaxMessage: 1000})
	for i := range 100 {
		if err := table.deliver(f.id, &core.Event{Topic: name("a")}); err != nil {
			wantCode(t, err, core.Internal)
			if i < 1000/entryOverhead {
				t.Errorf("refused after %d events", i)
			}
			return
		}
	}
	t.Error("took more than the window and a message")
}

func TestUnknownIDsAreIgnored(t *testing.T) {
	table, f := openFeed(t, Limits{})
	table.opened(99, false, nil)
	table.ended(99, nil)
	if err := table.deliver(99, &core.Event{}); err != nil || f.pipe.Len() != 0 {
		t.Errorf("got %v", err)
	}
	x := newExchange[int](1)
	x.complete(99, new(int))
}

// After a restart a feed gets only the credit that its waiting events leave.
func TestCreditAfterARestart(t *testing.T) {
	table, f := openFeed(t, Limits{Window: 10 * entryOverhead})
	for range 4 {
		if err := table.deliver(f.id, &core.Event{}); err != nil {
			t.Fatal(err)
		}
	}
	table.detach()
	outbox := core.NewPipe[feedMessage](0, 0, nil)
	table.attach(outbox)
	messages, _ := outbox.Next(patient(t))
	if len(messages) != 1 || messages[0].open.GetCredit() != 6*entryOverhead {
		t.Fatalf("got %+v", messages)
	}
	nextEvents(t, f, 4)
	messages, _ = outbox.Next(patient(t))
	if len(messages) != 1 || messages[0].credit.GetBytes() != 4*entryOverhead {
		t.Fatalf("got %+v", messages)
	}
}
