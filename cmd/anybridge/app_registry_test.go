package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// An app that subscribes to anybridge.endpoint.* hears of trouble with endpoints.
func TestTroubleIsPublished(t *testing.T) {
	heard := make(chan string, 16)
	watcher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct {
			Topic  string            `json:"topic"`
			Kwargs map[string]string `json:"kwargs"`
		}
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			t.Errorf("event: %v", err)
		}
		if k := event.Kwargs; k["token"] != "shop" || k["topic"] != "com.shop.order" || strings.Contains(k["url"], "secret") || k["time"] == "" {
			t.Errorf("%s tells %v", event.Topic, event.Kwargs)
		}
		heard <- event.Topic
	}))
	defer watcher.Close()
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer down.Close()

	a := startApp(t, configuration(map[string]string{"admin": everything(adminToken), "shop": everything(shopToken)}))
	defer a.halt()
	a.post("/subscribe/", adminToken, `{"endpoints": {"anybridge.endpoint.": {"url": "`+watcher.URL+`", "match": "prefix"}}}`, 200)
	a.post("/subscribe/", shopToken, `{"endpoints": {"com.shop.order": {"url": "`+down.URL+`/?secret=1", "retry": ["10ms", "10ms", "10ms", "10ms"]}}}`, 200)
	a.post("/publish/com.shop.order/", shopToken, `{"args": [1]}`, 200)
	for _, want := range []string{"anybridge.endpoint.failing", "anybridge.endpoint.dead_letter"} {
		select {
		case got := <-heard:
			if got != want {
				t.Errorf("heard %s, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("nothing heard of %s", want)
		}
	}
}
