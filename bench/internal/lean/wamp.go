package lean

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// WAMP message codes (WAMP basic profile, section "Message Codes").
const (
	Hello      = 1
	Welcome    = 2
	Abort      = 3
	Goodbye    = 6
	Error      = 8
	Publish    = 16
	Published  = 17
	Subscribe  = 32
	Subscribed = 33
	Event      = 36
	Call       = 48
	Result     = 50
	Register   = 64
	Registered = 65
	Invocation = 68
	Yield      = 70
)

// Session is a joined WAMP session. Join, Register and Subscribe are for the
// setting up; what follows uses the WebSocket directly.
type Session struct {
	*WebSocket
	Codec Codec
	id    uint64
}

// Join opens a session on realm, anonymously.
func Join(ctx context.Context, url, realm string, codec Codec, bufferSize int) (*Session, error) {
	ws, err := DialWebSocket(ctx, url, codec.Subprotocol, bufferSize)
	if err != nil {
		return nil, err
	}
	s := &Session{WebSocket: ws, Codec: codec}
	roles := map[string]any{
		"caller": map[string]any{}, "callee": map[string]any{}, "publisher": map[string]any{}, "subscriber": map[string]any{},
	}
	if err := s.ask(Welcome, []any{Hello, realm, map[string]any{"roles": roles}}); err != nil {
		ws.Close()
		return nil, fmt.Errorf("join %s at %s: %w", realm, url, err)
	}
	return s, nil
}

// NextID is the next request id: 1, 2, 3 … as WAMP asks for.
func (s *Session) NextID() uint64 {
	s.id++
	return s.id
}

// Register makes this session the callee of procedure.
func (s *Session) Register(procedure string) error {
	err := s.ask(Registered, []any{Register, s.NextID(), map[string]any{}, procedure})
	if err != nil {
		return fmt.Errorf("register %s: %w", procedure, err)
	}
	return nil
}

// Subscribe subscribes this session to topic.
func (s *Session) Subscribe(topic string) error {
	err := s.ask(Subscribed, []any{Subscribe, s.NextID(), map[string]any{}, topic})
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	return nil
}

// ask sends a request and waits for the answer with the code want.
func (s *Session) ask(want int, request []any) error {
	b, err := s.Codec.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	if err := s.Send(s.Codec.Op, b); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	_ = s.SetReadDeadline(time.Now().Add(10 * time.Second))
	payload, err := s.Read()
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	_ = s.SetReadDeadline(time.Time{})
	var answer []any
	if err := s.Codec.Unmarshal(payload, &answer); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	if len(answer) == 0 {
		return errors.New("an empty message")
	}
	if code := fmt.Sprint(answer[0]); code != fmt.Sprint(want) {
		return fmt.Errorf("answered %v", answer)
	}
	return nil
}
