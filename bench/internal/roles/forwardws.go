package roles

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"

	"github.com/gorilla/websocket"

	"github.com/anybridge/anybridge/bench/internal/lean"
)

// startWebSocketForwarder is the floor from WebSocket to HTTP. It understands
// just enough of WAMP (HELLO, CALL, PUBLISH) for the same load to drive it: one
// goroutine per connection reads a message, POSTs it on and answers.
func startWebSocketForwarder(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	to := flags.String("to", "", "URL")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	c := newPoster(*to)
	upgrader := websocket.Upgrader{Subprotocols: []string{"wamp.2.json"}}
	return serveHTTP(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the upgrader has answered
		}
		defer func() { _ = conn.Close() }()
		for {
			_, b, err := conn.ReadMessage()
			if err != nil {
				return
			}
			answer, err := c.answer(ctx, b)
			if err != nil {
				answer = []any{lean.Abort, map[string]any{"message": err.Error()}, "forwarder"}
			}
			if err := conn.WriteJSON(answer); err != nil {
				return
			}
		}
	}))
}

func (c *poster) answer(ctx context.Context, b []byte) (any, error) {
	var m []json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	if len(m) > 0 && string(m[0]) == "1" {
		return []any{lean.Welcome, 1, struct{}{}}, nil
	}
	if len(m) < 5 {
		return nil, fmt.Errorf("not for me: %s", b)
	}
	var p payload
	if err := json.Unmarshal(m[4], &p.Args); err != nil {
		return nil, err
	}
	value, err := c.post(ctx, p)
	switch {
	case err != nil:
		return nil, err
	case string(m[0]) == "48":
		return []any{lean.Result, m[1], struct{}{}, []any{value}}, nil
	case string(m[0]) == "16":
		return []any{lean.Published, m[1], 1}, nil
	}
	return nil, fmt.Errorf("not for me: %s", b)
}
