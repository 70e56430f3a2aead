package router

import (
	"sync"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

const (
	// sendBuffer is the size of the channel nexus sends on, and sendMark how full it
	// may be before Send empties it. At most five goroutines of nexus send to one
	// session at a time (dealer, broker, the session's own, the one that attaches
	// it, the router's), so what is above the mark is room enough for all of them.
	sendBuffer = 64
	sendMark   = 48

	spareItems = 256 // what an idle mailbox keeps allocated, at most
)

// item is one message that waits to be written. Events that carry an opaque payload
// are kept without the message that nexus made of them.
type item struct {
	msg     wamp.Message
	payload *wire.Payload // of an event; msg is nil then
	details wamp.Dict
	sub     wamp.ID
	pub     wamp.ID
	size    int32
	variant uint8
	retain  bool // an event out of the store
}

// control is a ready frame of the transport's own: a ping, pong or close.
type control []byte

// MessageType makes control fit among messages.
func (control) MessageType() wamp.MessageType { return 0 }

// mailbox is the outgoing queue of a session: bounded, first in first out.
//
// nexus sends on the channel out with a select that drops what does not fit. It
// calls Send for the channel each time; then room is made if there is little. So
// nothing is dropped, and nobody in nexus ever waits for the network.
//
// Whoever needs messages that nexus has yet to send becomes the one receiver of out
// for as long as that takes (step). All other times anybody who holds mu may empty
// out (drain). Thus one order holds from nexus to the wire.
type mailbox struct {
	out chan wamp.Message
	// sort takes what nexus sent, in order, and calls add for what is to be written.
	// It is called with mu held and must not block.
	sort func(wamp.Message)
	// changed is told, with mu held, how much waits.
	changed func(count int)

	maxCount, maxBytes int

	mu        sync.Mutex
	cond      sync.Cond // receiving has become false, or items were added, or it ended
	wake      chan struct{}
	items     []item
	spare     []item
	count     int // queued, and taken but not written yet
	bytes     int
	taken     int64 // messages written so far
	receiving bool
	settling  bool // nobody may become the receiver
	ended     bool // nothing more is accepted; what is queued can be taken
	overflow  bool // it ended because a bound was passed
}

func newMailbox(maxCount, maxBytes int) *mailbox {
	b := &mailbox{
		out: make(chan wamp.Message, sendBuffer), wake: make(chan struct{}, 1),
		maxCount: maxCount, maxBytes: maxBytes,
	}
	b.cond.L = &b.mu
	return b
}

// send returns the channel for one message, with room in it.
func (b *mailbox) send() chan<- wamp.Message {
	if len(b.out) < sendMark {
		return b.out
	}
	b.mu.Lock()
	for len(b.out) >= sendMark {
		if b.receiving {
			// The receiver has something to receive: it is about to run.
			b.cond.Wait()
			continue
		}
		b.drain()
	}
	b.mu.Unlock()
	return b.out
}

// drain sorts whatever nexus has sent so far, unless somebody is receiving, who then
// does it. mu is held.
func (b *mailbox) drain() {
	for !b.receiving {
		select {
		case m := <-b.out:
			b.accept(m)
		default:
			return
		}
	}
}

func (b *mailbox) accept(m wamp.Message) {
	if !b.ended {
		b.sort(m)
	}
}

// add queues it. mu is held.
func (b *mailbox) add(it item) {
	if b.ended {
		return
	}
	if b.count > 0 && (b.count >= b.maxCount || b.bytes+int(it.size) > b.maxBytes) {
		b.overflow = true
		b.discard()
		return
	}
	b.items = append(b.items, it)
	b.count++
	b.bytes += int(it.size)
	b.changed(b.count)
}

// discard ends the mailbox and forgets what is queued. mu is held.
func (b *mailbox) discard() {
	b.ended = true
	b.items, b.spare = nil, nil
	b.count, b.bytes = 0, 0
	b.changed(0)
	b.nudge()
}

// settle sorts everything that nexus has sent, even if somebody is receiving. mu is
// held, and released meanwhile; the caller ends the mailbox before it lets go of mu.
func (b *mailbox) settle() {
	b.settling = true
	for b.receiving {
		b.nudge()
		b.cond.Wait()
	}
	b.drain()
}

// end ends the mailbox; what is queued can still be taken. mu is held.
func (b *mailbox) end() {
	b.ended = true
	b.nudge()
}

// nudge wakes everybody who waits. mu is held.
func (b *mailbox) nudge() {
	b.cond.Broadcast()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// step waits until something may have changed. mu is held, and released meanwhile.
func (b *mailbox) step(cancel <-chan struct{}) {
	if b.receiving || b.settling {
		b.cond.Wait()
		return
	}
	b.receiving = true
	b.mu.Unlock()
	var m wamp.Message
	select {
	case m = <-b.out:
	case <-b.wake:
	case <-cancel:
	}
	b.mu.Lock()
	b.receiving = false
	if m != nil {
		b.accept(m)
	}
	b.cond.Broadcast()
}

// take waits for messages and returns all of them; nil once the mailbox has ended
// and is empty, or when cancel is closed. The caller says with wrote what it has
// disposed of, and gives the slice back.
func (b *mailbox) take(cancel <-chan struct{}) []item {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		b.drain()
		if len(b.items) > 0 {
			batch := b.items
			b.items, b.spare = b.spare, nil
			return batch
		}
		if b.ended {
			return nil
		}
		select {
		case <-cancel:
			return nil
		default:
		}
		b.step(cancel)
	}
}

// wrote takes note that count messages of bytes together have left.
func (b *mailbox) wrote(count, bytes int) {
	b.mu.Lock()
	b.taken += int64(count)
	if b.count > 0 { // not discarded meanwhile
		b.count -= count
		b.bytes -= bytes
		b.changed(b.count)
	}
	b.mu.Unlock()
}

// recycle gives a batch back that take returned.
func (b *mailbox) recycle(batch []item) {
	clear(batch)
	if cap(batch) > spareItems {
		return
	}
	b.mu.Lock()
	if b.spare == nil && !b.ended {
		b.spare = batch[:0]
	}
	b.mu.Unlock()
}

// await waits until done reports true, the mailbox ends or cancel is closed, and
// returns whether done did. done is called with mu held, after everything that nexus
// has sent was sorted.
func (b *mailbox) await(cancel <-chan struct{}, done func() bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		b.drain()
		if done() {
			return true
		}
		if b.ended {
			return false
		}
		select {
		case <-cancel:
			return false
		default:
		}
		b.step(cancel)
	}
}
