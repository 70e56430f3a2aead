package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/anybridge/anybridge/core"
)

// Batches keep their order, also beside others, and each event has its own outcome.
func TestBatchesKeepTheirOrder(t *testing.T) {
	p, _ := launch(t)
	const batches, events = 8, 500
	var wg sync.WaitGroup
	for b := range batches {
		topic := fmt.Sprintf("row%d", b)
		s, err := p.Subscribe(t.Context(), exact("echo."+topic))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		wg.Go(func() {
			batch := make([]*core.Event, events)
			for i := range batch {
				batch[i] = &core.Event{Topic: name(topic), Payload: core.Payload{Args: json.RawMessage(fmt.Sprintf("[%d]", i))}}
			}
			for i, err := range p.PublishBatch(t.Context(), batch) {
				if err != nil || batch[i].ID == "" {
					t.Errorf("event %d: %v, id %q", i, err, batch[i].ID)
				}
			}
		})
		wg.Go(func() {
			for next := 0; next < events; {
				got, err := s.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range got {
					if want := fmt.Sprintf("[%d]", next); string(e.Args) != want {
						t.Errorf("%s: got %s, want %s", topic, e.Args, want)
						return
					}
					next++
				}
			}
		})
	}
	wg.Wait()

	errs := p.PublishBatch(t.Context(), []*core.Event{
		{Topic: name("a")}, {Topic: name("refused")}, {Topic: name("panic")}, {Topic: name("b")},
		{Topic: name("big"), Payload: core.Payload{Args: json.RawMessage(`"` + string(make([]byte, 64<<20)) + `"`)}},
	})
	for i, want := range []core.Code{"", core.Forbidden, core.Internal, "", core.TooLarge} {
		if want == "" {
			if errs[i] != nil {
				t.Errorf("event %d: %v", i, errs[i])
			}
			continue
		}
		wantCode(t, errs[i], want)
	}
}

// A batch that waits is given up with its context.
func TestABatchEndsWithItsContext(t *testing.T) {
	p, _ := launch(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan []error)
	go func() { done <- p.PublishBatch(ctx, []*core.Event{{Topic: name("block")}, {Topic: name("after")}}) }()
	eventually(t, "the first one blocks", func() bool { return counter(t, p, "blocked") == 1 })
	cancel()
	for _, err := range <-done {
		wantCode(t, err, core.Canceled)
	}
	eventually(t, "the backend is told", func() bool { return counter(t, p, "unblocked") == 1 })
	if err := p.Publish(t.Context(), &core.Event{Topic: name("later")}); err != nil {
		t.Error(err)
	}
}
