package roles

import (
	"context"
	"flag"
	"fmt"
	"net/http"

	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
)

// startNexus is a plain nexus router with its own WebSocket server, as its
// README sets it up.
func startNexus(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	realm := flags.String("realm", "realm1", "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	r, err := router.NewRouter(&router.Config{
		RealmConfigs: []*router.RealmConfig{{URI: wamp.URI(*realm), AnonymousAuth: true}},
	}, quiet{})
	if err != nil {
		return nil, fmt.Errorf("new router: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/ws", router.NewWebsocketServer(r))
	web, err := serveHTTP(ctx, mux)
	if err != nil {
		r.Close()
		return nil, err
	}
	return &role{ready: web.ready, close: func() { r.Close(); web.close() }}, nil
}

// quiet is the logger of a nexus that logs nothing.
type quiet struct{}

func (quiet) Print(...any)          {}
func (quiet) Println(...any)        {}
func (quiet) Printf(string, ...any) {}
