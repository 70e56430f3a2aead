package irc_test

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/anybridge/anybridge/backends/backendtest"
	"github.com/anybridge/anybridge/backends/irc/irctest"
	"github.com/anybridge/anybridge/core"
)

func TestConformance(t *testing.T) {
	const password = "very-secret"
	s := irctest.StartInspIRCd(t, irctest.Options{})
	var nicks atomic.Int64
	// Patterns cover the channels that the backend is in: these are configured.
	channels := []string{"#pat.p", "#pat.px", "#pat.p.q", "#pat.q", "#pat.x.z", "#pat.y.z", "#pat.x.w"}
	section := func(changes map[string]any) json.RawMessage {
		all := map[string]any{"nick": fmt.Sprintf("bridge%d", nicks.Add(1)), "password": password, "channels": channels}
		for key, value := range changes {
			all[key] = value
		}
		return config(s, all)
	}
	backendtest.Run(t, backendtest.System{
		New:         newBackend,
		Config:      func(testing.TB) json.RawMessage { return section(nil) },
		BurstConfig: func(testing.TB) json.RawMessage { return section(map[string]any{"max_queued_events": 100}) },
		BadConfigs: map[string]string{
			`{"nick":"b"}`: "server:",
			`{"server":"h","nick":"b","sasl":{"mechanism":"x","password":"very-secret"}}`: "sasl.mechanism:",
			`{"server":"h","nick":"b","channels":["x"]}`:                                  "channels[0]:",
		},
		Secrets:   []string{password},
		Kill:      func(testing.TB) { s.Kill() },
		Start:     func(t testing.TB) { s.Start(t) },
		Topic:     func(i int) string { return fmt.Sprintf("#topic%d", i) },
		Procedure: func(i int) string { return fmt.Sprintf("procedure%d", i) },
		Pattern: func(m core.Match, _ string) (pattern string, matching []string, other string) {
			switch m {
			case core.Prefix:
				return "#pat.p", channels[:3], channels[3]
			case core.Wildcard:
				return "#pat..z", channels[4:6], channels[6]
			}
			return channels[0], channels[:1], channels[1]
		},
		BadNames: []string{"#a b", "#a,b", "a,b", "a b"},
		Payload:  func(i int) core.Payload { return core.TextPayload(fmt.Sprintf("message %d", i)) },
		Events:   150,
		Burst:    600,
	})
}
