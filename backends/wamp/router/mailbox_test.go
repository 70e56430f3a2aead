package router

import (
	"sync"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"
)

// testMailbox queues whatever is sent.
func testMailbox(count, bytes int) *mailbox {
	b := newMailbox(count, bytes)
	b.sort = func(m wamp.Message) { b.add(item{msg: m, size: 1}) }
	b.changed = func(int) {}
	return b
}

// offer sends as nexus does: with a select that drops what does not fit.
func (b *mailbox) offer(m wamp.Message) bool {
	select {
	case b.send() <- m:
		return true
	default:
		return false
	}
}

// Five senders, a consumer that is mostly idle, and somebody who awaits: nothing is
// dropped, and the messages of each sender keep their order.
func TestMailboxDropsNothing(t *testing.T) {
	const senders, messages = 5, 20_000
	b := testMailbox(senders*messages, 1<<30)
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for n := range messages {
				if !b.offer(&wamp.Published{Request: wamp.ID(s), Publication: wamp.ID(n)}) {
					t.Errorf("message %d of sender %d was dropped", n, s)
				}
			}
		})
	}
	wg.Go(func() {
		for want := 100; want < messages; want += 100 {
			b.await(nil, func() bool { return b.taken+int64(b.count) >= int64(want) })
		}
	})
	var next [senders]wamp.ID
	for got := 0; got < senders*messages; {
		batch := b.take(nil)
		for _, it := range batch {
			m := it.msg.(*wamp.Published)
			if next[m.Request] != m.Publication {
				t.Fatalf("sender %d: message %d, want %d", m.Request, m.Publication, next[m.Request])
			}
			next[m.Request]++
		}
		got += len(batch)
		b.wrote(len(batch), len(batch))
		b.recycle(batch)
	}
	wg.Wait()
	if b.count != 0 || b.bytes != 0 {
		t.Errorf("%d messages of %d bytes are left", b.count, b.bytes)
	}
}

// Nobody consumes: nexus' goroutines still never wait, and the bound ends it.
func TestMailboxOverflow(t *testing.T) {
	for name, b := range map[string]*mailbox{"messages": testMailbox(100, 1<<30), "bytes": testMailbox(1<<30, 100)} {
		n := 0
		for ; !b.ended; n++ {
			if !b.offer(&wamp.Published{}) {
				t.Fatal("dropped")
			}
		}
		if !b.overflow || n < 100 || n > 100+sendBuffer {
			t.Errorf("%s: ended after %d, overflow %v", name, n, b.overflow)
		}
		for range 10 * sendBuffer { // whatever comes now is discarded
			if !b.offer(&wamp.Published{}) {
				t.Fatal("blocked after the end")
			}
		}
		if b.take(nil) != nil {
			t.Error("something is left after an overflow")
		}
	}
}

// What was sent before the end can be taken after it, even while somebody receives.
func TestMailboxEnd(t *testing.T) {
	for range 1000 {
		b := testMailbox(10, 100)
		got := make(chan int)
		go func() {
			n := 0
			for batch := b.take(nil); batch != nil; batch = b.take(nil) {
				n += len(batch)
				b.wrote(len(batch), len(batch))
			}
			got <- n
		}()
		b.offer(&wamp.Published{})
		b.offer(&wamp.Published{})
		b.mu.Lock()
		b.settle()
		b.end()
		b.mu.Unlock()
		if n := <-got; n != 2 {
			t.Fatalf("%d messages, want 2", n)
		}
	}
}

// An oversized message fits into an empty queue.
func TestMailboxTakesOneOfAnySize(t *testing.T) {
	b := testMailbox(10, 10)
	b.sort = func(m wamp.Message) { b.add(item{msg: m, size: 1000}) }
	b.offer(&wamp.Published{})
	if len(b.take(nil)) != 1 || b.overflow {
		t.Error("not taken")
	}
}
