package tests

import (
	"encoding/json"
	"testing"
)

// TestPublishersSayWhoGetsTheirEvents uses the publish options that the articles
// name, from Autobahn|Python, AutobahnJS and HTTP.
func TestPublishersSayWhoGetsTheirEvents(t *testing.T) {
	t.Parallel()
	b := startBridge(t, setup{})
	first := client{library: "asyncio", transport: "websocket", serializer: "json"}.start(t, b)
	second := client{library: "node", transport: "websocket", serializer: "json"}.start(t, b)
	for _, publisher := range []*component{first, second} {
		other := map[*component]*component{first: second, second: first}[publisher]
		t.Run(publisher.library, func(t *testing.T) {
			own, theirs := publisher.name+".news", other.name+".news"
			only := func(t *testing.T, who *component, what string) {
				t.Helper()
				sameJSON(t, "event", who.event(t, "news").Args, raw([]any{what}))
			}
			t.Run("does not hear itself unless it asks to", func(t *testing.T) {
				publisher.publish(t, own, []any{"not heard"}, nil, nil)
				publisher.publish(t, own, []any{"heard"}, nil, object{"exclude_me": false})
				only(t, publisher, "heard")
			})
			t.Run("excludes a session", func(t *testing.T) {
				publisher.publish(t, theirs, []any{"excluded"}, nil, object{"exclude": []any{other.session}})
				publisher.publish(t, theirs, []any{"not excluded"}, nil, object{"exclude": []any{1}})
				only(t, other, "not excluded")
			})
			t.Run("names the sessions that are eligible", func(t *testing.T) {
				publisher.publish(t, theirs, []any{"for another"}, nil, object{"eligible": []any{1}})
				publisher.publish(t, theirs, []any{"for this one"}, nil, object{"eligible": []any{other.session}})
				only(t, other, "for this one")
			})
			t.Run("has an event retained for who comes later", func(t *testing.T) {
				topic := publisher.name + "_retained"
				publisher.publish(t, topic, []any{"kept"}, nil, object{"retain": true})
				wantRetained(t, b, topic, `["kept"]`)
			})
		})
	}
	t.Run("an HTTP app", func(t *testing.T) {
		options := func(what string, o object) object { return object{"args": []any{what}, "options": o} }
		b.publish(t, first.name+".news", options("excluded", object{"exclude": []any{first.session}}))
		b.publish(t, first.name+".news", options("for another", object{"eligible": []any{second.session}}))
		b.publish(t, first.name+".news", options("heard", object{"eligible": []any{first.session}}))
		sameJSON(t, "event", first.event(t, "news").Args, raw([]any{"heard"}))
		b.publish(t, "com.options.retained", options("kept", object{"retain": true}))
		wantRetained(t, b, "com.options.retained", `["kept"]`)

		app := startApp(t, theToken)
		b.subscribe(t, object{"com.options.own": app.view("/own", nil)})
		b.publish(t, "com.options.own", object{"args": []any{"not heard"}, "exclude_me": true})
		b.publish(t, "com.options.own", object{"args": []any{"heard"}})
		sameJSON(t, "event at the app that published it", app.next(t, "/own").Args, raw([]any{"heard"}))
		app.none(t, "/own")
	})
}

// wantRetained fails the test when a late subscriber does not get the event. It is on
// a bare session: nexus' client loses what comes right behind SUBSCRIBED.
func wantRetained(t *testing.T, b *bridge, topic, args string) {
	t.Helper()
	s := joinRaw(t, b)
	s.subscribe(t, topic, object{"get_retained": true})
	message, err := s.next()
	if err != nil {
		t.Fatalf("no retained event of %s: %v", topic, err)
	}
	var (
		kind, subscription, publication json.RawMessage
		details                         struct{ Retained bool }
		got                             json.RawMessage
	)
	if err := json.Unmarshal(message, &[]any{&kind, &subscription, &publication, &details, &got}); err != nil {
		t.Fatalf("message %s: %v", message, err)
	}
	equal(t, "type of the message", string(kind), "36")
	sameJSON(t, "args of the retained event", got, json.RawMessage(args))
	if !details.Retained {
		t.Errorf("the retained event does not say that it is: %s", message)
	}
}
