package wamp

import (
	"context"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/router"
	"github.com/anybridge/anybridge/backends/wamp/session"
)

// inside is the way to a realm of the router in this process.
func inside(r *router.Router, realm string) session.Target {
	connect := func(_ context.Context, hello *wamp.Hello) (session.Link, error) {
		local, err := r.Attach(string(hello.Realm), hello.Details)
		if err != nil {
			return nil, err
		}
		return &attached{Local: local}, nil
	}
	return session.Target{Connect: connect, Realm: realm}
}

// attached is the link to the router in this process. The router joins a Local by
// itself; the session hears of it as from any router.
type attached struct {
	*router.Local
	welcomed bool
}

var _ session.Link = (*attached)(nil)

// Receive returns the WELCOME first.
func (a *attached) Receive(ctx context.Context) ([]wamp.Message, error) {
	if !a.welcomed {
		a.welcomed = true
		return []wamp.Message{a.Welcome()}, nil
	}
	batch, err := a.Local.Receive(ctx)
	if why := a.Err(); err != nil && why != nil {
		return nil, why
	}
	return batch, err
}
