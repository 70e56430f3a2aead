package backendtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// publish publishes, and obeys a backend that asks for patience.
func (s *suite) publish(b core.Backend, topic string, p core.Payload) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	for {
		e := &core.Event{ID: core.NewID("evt"), Topic: address(topic), Payload: p, Time: time.Now()}
		err := b.Publish(ctx, e)
		if core.CodeOf(err) != core.TooMany {
			return err
		}
		wait := max(core.AsError(err).RetryAfter, 10*time.Millisecond)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

func (s *suite) mustPublish(t testing.TB, b core.Backend, topic string, p core.Payload) {
	t.Helper()
	if err := s.publish(b, topic, p); err != nil {
		t.Fatalf("Publish to %s: %v", topic, err)
	}
}

// samePayload compares what arrived with what was sent.
func (s *suite) samePayload(t testing.TB, what string, got, want core.Payload) {
	t.Helper()
	if s.canonical(got) != s.canonical(want) {
		t.Errorf("the %s has the payload %s, want %s", what, clip(got.JSON()), clip(want.JSON()))
	}
}

func (s *suite) testPublish(t *testing.T) {
	topic := s.topic()
	in := s.subscribe(t, s.b, exact(s.heard(topic)))
	var sent []core.Payload
	for i := range 3 {
		sent = append(sent, s.payload(i))
		s.mustPublish(t, s.a, topic, sent[i])
	}
	before := time.Now()
	ids := map[string]bool{}
	for i, e := range in.wait(t, 3) {
		checkEvent(t, e, s.heard(topic))
		s.samePayload(t, "event", e.Payload, sent[i])
		if e.ID != "" && ids[e.ID] {
			t.Errorf("two events have the id %q", e.ID)
		}
		ids[e.ID] = true
		if d := before.Sub(e.Time); !e.Time.IsZero() && (d > time.Hour || d < -time.Hour) {
			t.Errorf("the event's time is %s", e.Time)
		}
	}
}

// testOwnEvents: the bridge delivers its own events itself.
func (s *suite) testOwnEvents(t *testing.T) {
	topic := s.topic()
	in := s.subscribe(t, s.a, exact(topic))
	s.mustPublish(t, s.a, topic, s.payload(1))
	if s.Answer != nil { // the answer to it comes after it
		answers := s.subscribe(t, s.a, exact(s.heard(topic)))
		s.mustPublish(t, s.a, topic, s.payload(2))
		answers.waitFor(t, s.payload(2))
		if n := len(in.all()); n > 0 {
			t.Errorf("%d own events came back", n)
		}
		return
	}
	other := s.subscribe(t, s.b, exact(topic))
	s.mustPublish(t, s.a, topic, s.payload(2))
	other.waitFor(t, s.payload(2))
	s.mustPublish(t, s.b, topic, s.payload(3))
	if before := in.waitFor(t, s.payload(3)); len(before) > 0 {
		t.Errorf("%d own events came back, the first with %s", len(before), clip(before[0].JSON()))
	}
}

// testOrder: events of one publisher arrive in the order in which they were
// published, whatever others do.
func (s *suite) testOrder(t *testing.T) {
	topic := s.topic()
	in := s.subscribe(t, s.b, exact(s.heard(topic)))
	publishers := []core.Backend{s.a}
	if s.c != s.a {
		publishers = append(publishers, s.c)
	}
	each := s.Events / len(publishers)
	index := map[string]int{}
	for i := range each * len(publishers) {
		index[s.canonical(s.payload(i))] = i
	}
	var wg sync.WaitGroup
	for n, publisher := range publishers {
		wg.Go(func() {
			for i := range each {
				if err := s.publish(publisher, topic, s.payload(n*each+i)); err != nil {
					t.Errorf("Publish: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	next := make([]int, len(publishers))
	for _, e := range in.wait(t, each*len(publishers)) {
		i, ok := index[s.canonical(e.Payload)]
		if !ok {
			t.Fatalf("an event with %s came, which nobody published", clip(e.JSON()))
		}
		publisher, i := i/each, i%each
		if i != next[publisher] {
			t.Fatalf("event %d of publisher %d came where %d was to come", i, publisher, next[publisher])
		}
		next[publisher]++
	}
}

func (s *suite) testConcurrentPublishes(t *testing.T) {
	topic := s.topic()
	in := s.subscribe(t, s.b, exact(s.heard(topic)))
	const workers = 16
	each := max(1, s.Events/workers)
	want := map[string]int{}
	for i := range workers * each {
		want[s.canonical(s.payload(i))]++
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				if err := s.publish(s.a, topic, s.payload(w*each+i)); err != nil {
					t.Errorf("Publish: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, e := range in.wait(t, workers*each) {
		key := s.canonical(e.Payload)
		if want[key]--; want[key] < 0 {
			t.Fatalf("an event with %s came too often", clip(e.JSON()))
		}
	}
}

func (s *suite) testPatterns(t *testing.T) {
	for _, m := range s.info.Can.Subscribe {
		t.Run(string(m), func(t *testing.T) {
			p, matching, other := s.Pattern(m, s.topic())
			in := s.subscribe(t, s.b, pattern(m, s.heard(p)))
			s.mustPublish(t, s.a, other, s.payload(0))
			for i, topic := range matching {
				s.mustPublish(t, s.a, topic, s.payload(i+1))
			}
			for i, topic := range matching {
				e := in.wait(t, i+1)[i]
				checkEvent(t, e, s.heard(topic))
				s.samePayload(t, "event", e.Payload, s.payload(i+1))
			}
			if n := len(in.all()); n > len(matching) {
				t.Errorf("%d events came, want %d", n, len(matching))
			}
		})
	}
}

// testOverlap: a topic that two subscriptions cover reaches each of them once.
func (s *suite) testOverlap(t *testing.T) {
	p, matching, _ := s.Pattern(core.Prefix, s.topic())
	topic := matching[len(matching)-1]
	wide := s.subscribe(t, s.b, pattern(core.Prefix, s.heard(p)))
	narrow := s.mustSubscribe(t, s.b, exact(s.heard(topic)))
	narrowIn := s.read(t, narrow)
	const n = 10
	for i := range n {
		s.mustPublish(t, s.a, topic, s.payload(i))
	}
	for what, in := range map[string]*inbox{"prefix": wide, "exact": narrowIn} {
		for i, e := range in.wait(t, n)[:n] {
			checkEvent(t, e, s.heard(topic))
			if s.canonical(e.Payload) != s.canonical(s.payload(i)) {
				t.Fatalf("the %s subscription got %s as its event %d", what, clip(e.JSON()), i)
			}
		}
	}
	// Without the one, the other goes on.
	s.closeStream(t, narrow.Close)
	s.mustPublish(t, s.a, topic, s.payload(n))
	wide.wait(t, n+1)
	if more := len(wide.all()); more != n+1 {
		t.Errorf("the prefix subscription got %d events, want %d", more, n+1)
	}
	if len(narrowIn.all()) != n {
		t.Errorf("the exact subscription got %d events, want %d", len(narrowIn.all()), n)
	}
}

func (s *suite) testUnsubscribe(t *testing.T) {
	topic, stays := s.topic(), s.topic()
	other := s.subscribe(t, s.b, exact(s.heard(stays)))
	for i := range 5 {
		stream := s.mustSubscribe(t, s.b, exact(s.heard(topic)))
		in := s.read(t, stream)
		s.mustPublish(t, s.a, topic, s.payload(i))
		s.mustPublish(t, s.a, topic, s.payload(300+i))
		if before := in.waitFor(t, s.payload(300+i)); len(before) != 1 {
			t.Errorf("%d events came before the second one", len(before))
		}
		s.closeStream(t, stream.Close)
		s.closeStream(t, stream.Close) // closing twice is allowed
		s.eventually(t, func() bool { return in.ended() != nil }, func() string { return "Next goes on after Close" })
		before := len(in.all())
		s.mustPublish(t, s.a, topic, s.payload(100+i))
		s.mustPublish(t, s.a, stays, s.payload(200+i))
		other.waitFor(t, s.payload(200+i))
		if after := len(in.all()); after != before {
			t.Errorf("%d events came after Close", after-before)
		}
	}
}

func (s *suite) testRetain(t *testing.T) {
	topic := s.topic()
	retain := func(i int) {
		t.Helper()
		e := &core.Event{ID: core.NewID("evt"), Topic: address(topic), Payload: s.payload(i), Options: core.PublishOptions{Retain: true}}
		if err := s.a.Publish(s.patient(t), e); err != nil {
			t.Fatalf("Publish: %v", err)
		}
	}
	retain(1)
	retain(2)
	if s.NoRetained {
		return
	}
	for _, b := range []core.Backend{s.b, s.c} {
		in := s.subscribe(t, b, exact(topic))
		got := in.wait(t, 1)
		s.samePayload(t, "retained event", got[0].Payload, s.payload(2))
	}
	in := s.subscribe(t, s.b, exact(s.topic()))
	s.mustPublish(t, s.a, topic, s.payload(3))
	if n := len(in.all()); n > 0 {
		t.Errorf("%d retained events came on another topic", n)
	}
}

// testEndedContexts: nothing hangs, and nothing breaks for those who come after.
func (s *suite) testEndedContexts(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	topic, procedure := s.topic(), s.procedure()
	can := s.info.Can
	if can.Publish {
		s.returns(t, "Publish", func() {
			err := s.a.Publish(ended, &core.Event{ID: "evt_1", Topic: address(topic), Payload: s.payload(1)})
			s.wantEnd(t, "Publish", err)
		})
	}
	if can.Call {
		s.returns(t, "Call", func() {
			_, err := s.a.Call(ended, &core.Call{Procedure: address(procedure), Payload: s.payload(1)})
			s.wantEnd(t, "Call", err, core.NoSuchProcedure)
		})
	}
	if s.can(core.Exact) {
		s.returns(t, "Subscribe", func() {
			stream, err := s.a.Subscribe(ended, exact(s.heard(topic)))
			s.wantEnd(t, "Subscribe", err)
			if err == nil {
				s.closeStream(t, stream.Close)
			}
		})
	}
	if can.CanRegister(core.Exact) {
		s.returns(t, "Register", func() {
			stream, err := s.a.Register(ended, exact(procedure), core.RegisterOptions{})
			s.wantEnd(t, "Register", err)
			if err == nil {
				s.closeStream(t, stream.Close)
			}
		})
	}
	if pubsub(s) == "" {
		in := s.subscribe(t, s.b, exact(s.heard(topic)))
		s.mustPublish(t, s.a, topic, s.payload(2))
		in.waitFor(t, s.payload(2))

		// Next ends with its context, and goes on with the next one.
		stream := s.mustSubscribe(t, s.b, exact(s.heard(s.topic())))
		s.returns(t, "Next", func() {
			if batch, err := stream.Next(ended); err == nil {
				t.Errorf("Next returned %d events", len(batch))
			}
		})
	}
	if rpc(s) == "" {
		s.serve(t, s.b, exact(procedure), core.RegisterOptions{}, echo)
		s.mustCall(t, s.a, procedure, s.payload(3))
	}
}

// wantEnd checks the answer to a request whose context had ended: it may have
// been too late for that.
func (s *suite) wantEnd(t testing.TB, what string, err error, others ...core.Code) {
	t.Helper()
	if bad := oneOf(err, append(slices.Clone(others), "", core.Canceled, core.Timeout, core.Unavailable)...); bad != nil {
		t.Errorf("%s with an ended context: %v", what, bad)
	}
}

// testStatus: Status says what is so, from memory.
func (s *suite) testStatus(t *testing.T) {
	if s.info.Kind == "" {
		t.Error("Info.Kind is empty")
	}
	s.up(t, s.a)
	before := time.Now()
	const n = 100
	for range n {
		st := s.status(t, s.a)
		for name := range st.Counters {
			if !snakeCase(name) {
				t.Fatalf("the counter %q is not in snake case", name)
			}
		}
	}
	if d := time.Since(before); d > s.Patience/3 {
		t.Errorf("Status took %s each", d/n)
	}
}

func snakeCase(name string) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return name != ""
}

// testBurst: a subscriber that does not read costs neither the others nor the
// publisher anything, and what it misses it is told.
func (s *suite) testBurst(t *testing.T) {
	b, a := s.b, s.a
	if s.Answer == nil {
		b, _ = s.open(t, s.BurstConfig(t))
	}
	topic, lively := s.topic(), s.topic()
	stuck := s.mustSubscribe(t, b, exact(s.heard(topic)))
	other := s.subscribe(t, b, exact(s.heard(lively)))
	before := s.status(t, b).Counters
	n := s.Burst
	if s.Answer != nil { // the publisher itself is slowed down
		n = min(n, s.Events)
	}
	index := make(map[string]int, n)
	for i := range n {
		p := s.large(i)
		index[s.canonical(p)] = i
		s.mustPublish(t, a, topic, p)
		if i%(n/10+1) == 0 {
			s.mustPublish(t, a, lively, p)
			other.waitFor(t, p)
		}
	}
	in := s.read(t, stuck)
	missing := func() int64 {
		lost, _ := in.lost()
		return int64(n-len(in.all())) - lost
	}
	excused := func() bool {
		if _, unknown := in.lost(); unknown || s.LosesSilently {
			return true
		}
		var counted int64
		for name, now := range s.status(t, b).Counters {
			counted = max(counted, now-before[name])
		}
		return missing() <= 0 || counted >= missing()
	}
	// First what is on its way, then the place after it: a gap stands before the next event.
	quiet(func() int { return len(in.all()) })
	s.mustPublish(t, a, topic, s.payload(n))
	in.waitFor(t, s.payload(n))
	if !excused() {
		t.Errorf("%d of %d events vanished: no Gap and no counter speaks of them", missing(), n)
	}
	last := -1
	for _, e := range in.all() {
		i, ok := index[s.canonical(e.Payload)]
		if ok && i <= last {
			t.Fatalf("event %d came after event %d", i, last)
		}
		if ok {
			last = i
		}
	}
	t.Logf("%d of %d events came, %s", len(in.all())-1, n, fmt.Sprint(len(in.gaps), " gaps"))
}

// large is the i-th payload, of a size that fills queues soon where the system allows it.
func (s *suite) large(i int) core.Payload {
	if s.Payload != nil {
		return s.Payload(i)
	}
	return core.Payload{Args: fmt.Appendf(nil, `[%d,%q]`, i, strings.Repeat("x", 4<<10))}
}

// quiet waits until a number no longer grows.
func quiet(count func() int) {
	for last, same := -1, 0; same < 10; {
		time.Sleep(20 * time.Millisecond)
		if now := count(); now == last {
			same++
		} else {
			last, same = now, 0
		}
	}
}
