package kit

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Up is for a session of the link: it asks the new connection for everything in the
// table, says that the link is up, see Link.Up, and tells all feeds since when they could
// not hear.
func (t *Topics[M]) Up(ctx context.Context, attrs ...slog.Attr) error {
	asked := map[int]Topic{}
	for _, topic := range t.all() {
		topic.Again = true
		if err := t.o.Subscribe(ctx, topic); err != nil {
			return fmt.Errorf("subscribe to %s: %w", topic.Name, err)
		}
		asked[topic.ID] = topic
	}
	t.link.Up(attrs...)
	for _, topic := range t.all() {
		delete(asked, topic.ID)
	}
	for _, topic := range asked { // given up meanwhile
		t.withdraw(topic)
	}
	if since := t.link.LostAt(); !since.IsZero() {
		t.missed(core.Gap{Since: since, Until: time.Now(), Reason: "the connection to " + t.link.o.Name + " was lost"})
	}
	return nil
}

func (t *Topics[M]) all() []Topic {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Topic
	for _, s := range t.table {
		all = append(all, s.Topic)
	}
	return all
}

func (t *Topics[M]) missed(g core.Gap) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.table {
		for _, h := range s.hearers {
			if h.feed != nil {
				h.feed.Missed(g)
			}
		}
	}
}
