package redis_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/backendtest"
	"github.com/anybridge/anybridge/backends/redis/redistest"
)

func TestConformance(t *testing.T) {
	const password = "very-secret"
	s := redistest.Start(t, "user default on >"+password+" ~* &* +@all")
	url := strings.Replace(s.URL(), "://", "://:"+password+"@", 1)
	quick := settings{"rpc": settings{"grace": "50ms"}}
	backendtest.Run(t, backendtest.System{
		New:         newBackend,
		Config:      func(testing.TB) json.RawMessage { return config(url, quick) },
		BurstConfig: func(testing.TB) json.RawMessage { return config(url, quick, settings{"max_queued_events": 500}) },
		BadConfigs: map[string]string{
			`{}`:                                                     "url:",
			`{"url": "http://x"}`:                                    "url:",
			`{"url": "redis://:very-secret@h h"}`:                    "url:",
			`{"url": "redis://h", "urk": 1}`:                         "urk:",
			`{"url": "redis://h", "format": "xml"}`:                  "format:",
			`{"url": "redis://h", "rpc": {"x": 1}}`:                  "rpc.x:",
			`{"url": "redis://h", "tls": {}}`:                        "tls:",
			`{"url": "redis://h", "streams": {"a": {"start": "x"}}}`: "streams.a.start:",
		},
		Secrets: []string{password},
		Kill:    func(testing.TB) { s.Kill() },
		Start:   func(testing.TB) { s.Start() },
		// A request that was taken cannot be called back.
		NoCancel: true,
	})
}
