package engine

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/record"
)

func TestTimersRunInOrder(t *testing.T) {
	var ts timers
	var did []int
	var canceled []*timer
	for _, n := range rand.Perm(100) {
		x := ts.add(start.Add(time.Duration(n)*time.Second), func() { did = append(did, n) })
		if n%10 == 0 {
			canceled = append(canceled, x)
		}
	}
	for _, x := range canceled {
		x.cancel()
	}
	if pause := ts.run(start.Add(-time.Second)); pause > 2*time.Second || len(did) > 0 {
		t.Errorf("run does %v, and the next one comes in %v", did, pause)
	}
	if pause := ts.run(start.Add(49500 * time.Millisecond)); len(did) != 45 || !slices.IsSorted(did) || pause > 1500*time.Millisecond {
		t.Errorf("run does %v, and the next one comes in %v", did, pause)
	}
	ts.run(start.Add(time.Hour))
	if len(did) != 90 || !slices.IsSorted(did) || len(ts) != 0 {
		t.Errorf("run does %v and leaves %d", did, len(ts))
	}
}

func TestTimersMayAddTimers(t *testing.T) {
	var ts timers
	n := 0
	var again func()
	again = func() {
		if n++; n < 10 {
			ts.add(time.Time{}, again)
		}
	}
	ts.add(time.Time{}, again)
	if pause := ts.run(start); n != 10 || pause != time.Hour {
		t.Errorf("done %d times; the next one comes in %v", n, pause)
	}
}

func TestACanceledTimerHoldsNothing(t *testing.T) {
	var ts timers
	freed := make(chan struct{})
	func() {
		big := new([1 << 16]byte)
		runtime.AddCleanup(big, func(int) { close(freed) }, 0)
		ts.add(start, func() { _ = big[0] }).cancel()
	}()
	for range 10 {
		runtime.GC()
		select {
		case <-freed:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Error("what it was to do is still there")
}

func TestFifo(t *testing.T) {
	var f fifo
	var model []*delivery
	for range 10_000 {
		switch d := (&delivery{}); rand.IntN(5) {
		case 0:
			f.unshift(d)
			model = slices.Insert(model, 0, d)
		case 1, 2:
			f.push(d)
			model = append(model, d)
		default:
			if len(model) > 0 {
				if got := f.shift(); got != model[0] {
					t.Fatal("out of order")
				}
				model = model[1:]
			}
		}
		if f.len() != len(model) {
			t.Fatalf("len = %d, want %d", f.len(), len(model))
		}
		if first := f.first(); len(model) == 0 && first != nil || len(model) > 0 && first != model[0] {
			t.Fatal("first is another one")
		}
	}
	for f.len() > 0 {
		f.shift()
	}
	if f.head != nil || f.tail != nil {
		t.Error("an empty queue holds memory")
	}
}

func TestRepetitionsAreTheSameEventForTheSameRecipients(t *testing.T) {
	r := newRepetitions()
	entry := func(group uint64, id string, to ...byte) *record.Entry {
		e := &record.Entry{Group: group, ID: id}
		for _, b := range to {
			e.To = append(e.To, record.Key{b})
		}
		return e
	}
	for i, tt := range []struct {
		entry *record.Entry
		want  bool
	}{
		{entry(1, "a", 1), false},
		{entry(1, "a", 1), true},
		{entry(1, "a", 2), false}, // the rest of the recipients
		{entry(2, "a", 1), false}, // another pattern
		{entry(1, "b", 1), false},
		{entry(1, "", 1), false}, // no ID, no repetition
		{entry(1, "", 1), false},
		{entry(1, "c"), false},
		{entry(1, "c"), false},
	} {
		if got := r.again(tt.entry); got != tt.want {
			t.Errorf("%d: again is %v", i, got)
		}
	}
}

func TestRepetitionsAreForgottenInTime(t *testing.T) {
	r := newRepetitions()
	e := &record.Entry{ID: "x", To: []record.Key{{1}}}
	for i := range uint64(3 * maxRepetitions) {
		e.Group = i
		if r.again(e) {
			t.Fatalf("%d was not seen before", i)
		}
	}
	if n := len(r.current) + len(r.last); n > 2*maxRepetitions {
		t.Errorf("%d remembered", n)
	}
	for i := range uint64(maxRepetitions) {
		if e.Group = 3*maxRepetitions - 1 - i; !r.again(e) {
			t.Fatalf("the last but %d is forgotten", i)
		}
	}
}

func TestScheduleIsFollowed(t *testing.T) {
	schedule := []time.Duration{time.Second, time.Minute}
	near := func(got, want time.Duration) bool { return got >= want*8/10 && got <= want*12/10 }
	for _, tt := range []struct {
		attempts int
		asked    time.Duration
		want     time.Duration
		again    bool
	}{
		{1, 0, time.Second, true},
		{2, 0, time.Minute, true},
		{3, 0, 0, false},
		{3, time.Hour, 0, false}, // who asks for a pause gets no attempts for it
		{1, time.Hour, time.Hour, true},
		{2, time.Second, time.Minute, true},
		{1, 1000 * time.Hour, maxRetryAfter, true},
		{1, -time.Hour, time.Second, true},
	} {
		pause, again := nextAttempt(schedule, tt.attempts, tt.asked)
		if again != tt.again || !near(pause, tt.want) {
			t.Errorf("%d attempts, asked for %v: %v, %v; want about %v, %v", tt.attempts, tt.asked, pause, again, tt.want, tt.again)
		}
	}
	if _, again := nextAttempt(nil, 1, 0); again {
		t.Error("another attempt without a schedule")
	}
	if n := len(DefaultRetry()); n != 9 {
		t.Errorf("%d retries by default", n)
	}
}

func TestMailboxNeverBlocks(t *testing.T) {
	m := newMailbox()
	var did []int
	for n := range 10_000 {
		if !m.put(func() { did = append(did, n) }) {
			t.Fatal("closed")
		}
	}
	<-m.filled
	for _, f := range m.take() {
		f()
	}
	if len(did) != 10_000 || !slices.IsSorted(did) {
		t.Errorf("%d of 10000 done, or out of order", len(did))
	}
	m.close()
	if m.put(func() {}) || len(m.take()) != 0 {
		t.Error("a closed mailbox takes more")
	}
}

func TestAnyIDIsOneTokenOfASubject(t *testing.T) {
	for _, id := range []string{"4711_sub_0123456789", "a.b", "a b", "*", ">", "", "é", "\x00", "a:b", string(make([]byte, 1000))} {
		token := idToken(id)
		if token == "" || len(token) > 128 || slices.ContainsFunc([]byte(token), func(c byte) bool { return c <= ' ' || c > '~' || c == '.' || c == '*' || c == '>' }) {
			t.Errorf("%q becomes %q", id, token)
		}
	}
	if idToken("a.b") == idToken("a b") {
		t.Error("two IDs become the same token")
	}
	if s := "evt-1_sub_0123"; idToken(s) != s {
		t.Errorf("%q becomes %q", s, idToken(s))
	}
}

func TestTheEndpointOfADelivery(t *testing.T) {
	for id, want := range map[string]string{
		deliveryID("1", "sub_0123"):      "sub_0123",
		deliveryID("_sub_1", "sub_0123"): "sub_0123",
		"call_1":                         "*",
	} {
		if got := endpointOfDelivery(id); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}

func TestResultsOfOneOwnerAndURLQueueTogether(t *testing.T) {
	a := resultEndpoint("shop", "http://x/")
	if !isResult(a) || a != resultEndpoint("shop", "http://x/") || a == resultEndpoint("sho", "phttp://x/") || isResult((&core.Subscription{}).ID()) {
		t.Errorf("endpoint %q", a)
	}
}
