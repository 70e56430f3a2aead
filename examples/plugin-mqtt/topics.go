package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/eclipse/paho.golang/paho"

	"github.com/anybridge/anybridge/core"
)

// filter is one subscription on the server. Several patterns may need the same one.
type filter struct {
	id      int // MQTT's subscription identifier, which comes with every message
	subs    []*subscription
	calls   *calls       // of a registration …
	serves  core.Address // … of this procedure
	replies bool         // it is where the answers to our calls come
}

// subscription is one pattern's stream.
type subscription struct {
	*core.Pipe[*core.Event]
	pattern core.Pattern
	lost    int64
	since   time.Time
}

// subscribe is the packet for the filter: our own messages do not come back, and
// what is retained comes when the filter is new.
func (f *filter) subscribe(topic string, retained byte) *paho.Subscribe {
	shared := strings.HasPrefix(topic, "$share/") // has no such option
	return &paho.Subscribe{
		Properties:    &paho.SubscribeProperties{SubscriptionIdentifier: &f.id},
		Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 1, NoLocal: !shared && !f.replies, RetainHandling: 2 - retained}},
	}
}

// put never waits. What does not fit is told before the next event that does. b.mu is held.
func (s *subscription) put(b *backend, e *core.Event) {
	if s.lost > 0 && s.TryPut(&core.Event{Topic: s.pattern.Address, Gap: &core.Gap{
		Since: s.since, Until: time.Now(), Lost: s.lost, Reason: "the queue of the subscription was full",
	}}, 1) {
		s.lost = 0
	}
	if s.lost == 0 && s.TryPut(e, e.Size()+len(e.Topic.Name)+128) {
		return
	}
	if s.lost == 0 {
		s.since = time.Now()
	}
	s.lost++
	b.dropped++
}

// swap changes the places of dots and slashes, in either direction.
func swap(name string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, name)
}

// topic is the MQTT topic of a name.
func (b *backend) topic(space, name string) (string, error) {
	topic := b.config.Prefix + space + swap(name)
	switch {
	case strings.ContainsAny(name, "+#\x00") || !utf8.ValidString(name):
		return "", core.Errorf(core.InvalidArgument, "name %q: +, # and control characters are not allowed in MQTT topics", name)
	case topic == "" || topic[0] == '$':
		return "", core.Errorf(core.InvalidArgument, "name %q: topics that begin with $ are the server's own", name)
	case strings.Count(topic, "/") >= maxLevels:
		return "", core.Errorf(core.InvalidArgument, "name %q: at most %d levels are allowed", name, maxLevels)
	}
	return topic, nil
}

// filterOf is the narrowest topic filter that covers the pattern. What else comes with
// it, Pattern.Matches leaves out.
func (b *backend) filterOf(p core.Pattern) (string, error) {
	topic, err := b.topic("", p.Name)
	switch {
	case err != nil:
		return "", err
	case p.Match == core.Wildcard:
		levels := strings.Split(swap(p.Name), "/")
		for i, level := range levels {
			if level == "" {
				levels[i] = "+"
			}
		}
		return b.config.Prefix + strings.Join(levels, "/"), nil
	case p.Match == core.Prefix:
		return topic[:strings.LastIndexByte(topic, '/')+1] + "#", nil
	}
	return topic, nil
}

// Subscribe implements core.Backend.
func (b *backend) Subscribe(ctx context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	topic, err := b.filterOf(p)
	if err != nil {
		return nil, err
	}
	s := &subscription{pattern: p}
	s.Pipe = core.NewPipe[*core.Event](b.config.Queue, queueBytes, func() {
		b.leave(topic, func(f *filter) bool {
			f.subs = slices.DeleteFunc(f.subs, func(x *subscription) bool { return x == s })
			return len(f.subs) == 0
		})
	})
	b.mu.Lock()
	f := b.filters[topic]
	if f == nil {
		f = &filter{id: b.id()}
		b.filters[topic] = f
	}
	f.subs = append(f.subs, s)
	b.mu.Unlock()
	if err := b.join(ctx, f.subscribe(topic, 1)); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (b *backend) join(ctx context.Context, s *paho.Subscribe) error {
	return b.request(ctx, func(ctx context.Context) error {
		_, err := b.cm.Subscribe(ctx, s)
		return err
	})
}

// leave unsubscribes when nobody needs the filter any more.
func (b *backend) leave(topic string, last func(*filter) bool) {
	b.mu.Lock()
	f := b.filters[topic]
	if f == nil || !last(f) {
		b.mu.Unlock()
		return
	}
	delete(b.filters, topic)
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), openPatience)
	defer cancel()
	_ = b.request(ctx, func(ctx context.Context) error {
		_, err := b.cm.Unsubscribe(ctx, &paho.Unsubscribe{Topics: []string{topic}})
		return err
	})
}

// received takes a message from the server; it must not wait.
func (b *backend) received(m *paho.Publish) {
	if m.Properties == nil || m.Properties.SubscriptionIdentifier == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.filters {
		if f.id != *m.Properties.SubscriptionIdentifier {
			continue
		}
		switch {
		case f.replies:
			if c := b.calls[string(m.Properties.CorrelationData)]; c != nil {
				delete(b.calls, string(m.Properties.CorrelationData))
				c <- m
			}
		case f.calls != nil:
			b.invoked(f, m)
		default:
			name := swap(strings.TrimPrefix(m.Topic, b.config.Prefix))
			for _, s := range f.subs {
				e := &core.Event{Topic: core.Address{Backend: s.pattern.Backend, Name: name}, Payload: payload(m.Payload), Time: time.Now()}
				if m.Retain {
					e.Details = json.RawMessage(`{"retained":true}`)
				}
				if s.pattern.Matches(e.Topic) && e.Topic.Valid() == nil {
					s.put(b, e)
				}
			}
		}
	}
}

// payload reads what came: the JSON that Publish writes, other JSON, or text.
func payload(text []byte) core.Payload {
	if !json.Valid(text) || !utf8.Valid(text) {
		return core.TextPayload(string(text))
	}
	var p struct{ Args, Kwargs json.RawMessage }
	var keys map[string]json.RawMessage
	if json.Unmarshal(text, &keys) == nil && keys != nil {
		p.Args, p.Kwargs = keys["args"], keys["kwargs"]
		delete(keys, "args")
		delete(keys, "kwargs")
		if len(keys) == 0 && begins(p.Args, '[') && begins(p.Kwargs, '{') {
			return core.Payload{Args: p.Args, Kwargs: p.Kwargs}
		}
	}
	return core.Payload{Args: slices.Concat([]byte("["), text, []byte("]"))}
}

func begins(value json.RawMessage, with byte) bool { return value == nil || value[0] == with }
