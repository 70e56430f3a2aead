package lean

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

func TestPostUnderstandsBothFramingsOnOneConnection(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", r.Header)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch string(body) {
		case "empty":
			w.WriteHeader(http.StatusNoContent)
		case "chunks":
			io.WriteString(w, "one ")
			w.(http.Flusher).Flush()
			io.WriteString(w, "two")
		default:
			w.WriteHeader(http.StatusTeapot)
			w.Write(body)
		}
	}))
	defer s.Close()
	c, err := DialHTTP(t.Context(), strings.TrimPrefix(s.URL, "http://"), "/x", "secret")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	long := strings.Repeat("x", 10_000)
	for _, want := range []struct {
		send   string
		status int
		body   string
	}{{"short", 418, "short"}, {"chunks", 200, "one two"}, {"empty", 204, ""}, {long, 418, long}} {
		status, body, err := c.Post([]byte(want.send))
		if err != nil || status != want.status || string(body) != want.body {
			t.Fatalf("Post(%.10q) = %d, %.20q, %v", want.send, status, body, err)
		}
	}
}

func TestWebSocketSpeaksWithARealServer(t *testing.T) {
	upgrader := websocket.Upgrader{Subprotocols: []string{"wamp.2.json"}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for {
			kind, b, err := conn.ReadMessage()
			if err != nil {
				return
			}
			conn.WriteMessage(websocket.PingMessage, []byte("there?"))
			conn.WriteMessage(kind, b)
		}
	}))
	defer s.Close()
	w, err := DialWebSocket(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http"), "wamp.2.json", 512)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 200_000} {
		want := strings.Repeat("y", size)
		w.Queue(OpText, []byte("first"))
		w.Queue(OpBinary, []byte(want))
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"first", want} {
			got, err := w.Read()
			if err != nil || string(got) != want {
				t.Fatalf("%d bytes came back as %d, %v", len(want), len(got), err)
			}
		}
	}
}

func TestDialSaysWhatTheServerAnswered(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	_, err := DialWebSocket(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http"), "wamp.2.json", 512)
	if err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("err = %v", err)
	}
}

func TestContainsNumber(t *testing.T) {
	for text, want := range map[string]bool{
		`{"args":[42]}`: true, `42`: true, `{"content":"42"}`: true, `[50,1,{},[42]]`: true, `4242 42`: true,
		``: false, `4`: false, `420`: false, `142`: false, `{"args":[4,2]}`: false,
	} {
		if got := ContainsNumber([]byte(text), 42); got != want {
			t.Errorf("ContainsNumber(%q, 42) = %v", text, got)
		}
	}
}
