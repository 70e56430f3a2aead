package router

import (
	"log/slog"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// The variants of an EVENT with the same payload, subscription and publication: what
// nexus or the store have put into its details.
const (
	variantTopic uint8 = 1 << iota
	variantPublisher
	variantAuthID
	variantAuthRole
	variantUnknown // something else: such an event is not shared
)

// variantOf computes the variant of an event's details. All the values are given by
// the publication; which of them are there depends on the subscriber.
func variantOf(details wamp.Dict) (v uint8) {
	for name := range details {
		switch name {
		case "topic":
			v |= variantTopic
		case "publisher":
			v |= variantPublisher
		case "publisher_authid":
			v |= variantAuthID
		case "publisher_authrole":
			v |= variantAuthRole
		default:
			v |= variantUnknown
		}
	}
	return v
}

// write takes messages from the mailbox and writes them, until the mailbox has ended
// and is empty or the transport fails. It is the only writer of the link.
func (s *session) write() {
	defer close(s.written)
	for {
		batch := s.box.take(nil)
		if batch == nil {
			break
		}
		if err := s.writeBatch(batch); err != nil {
			s.fail(writeCause(err), err.Error())
			return
		}
		s.box.recycle(batch)
	}
	if s.failed() {
		return
	}
	if last := s.link.closing(); last != nil {
		_ = s.link.write(last) // the peer may be gone, which is fine now
	}
}

// writeBatch encodes messages into few writes.
func (s *session) writeBatch(batch []item) error {
	buffer := s.router.pools.buffer()
	defer s.router.pools.release(buffer)
	buf := (*buffer)[:0]
	var count, bytes int // in buf
	flush := func(frames []byte) error {
		if len(frames) == 0 {
			return nil
		}
		err := s.link.write(frames)
		s.box.wrote(count, bytes)
		s.router.counters.messagesOut.Add(int64(count))
		count, bytes = 0, 0
		return err
	}
	for i := range batch {
		it := &batch[i]
		shared, grown := s.encode(buf, it)
		buf = grown
		if shared != nil {
			alone := len(buf) == 0 && i == len(batch)-1
			if !alone && len(shared) < bigFrame {
				buf = append(buf, shared...)
				shared = nil
			} else if len(buf) > 0 {
				if err := flush(buf); err != nil {
					return err
				}
				buf = buf[:0]
			}
		}
		count++
		bytes += int(it.size)
		if shared != nil {
			if err := flush(shared); err != nil {
				return err
			}
		}
		if len(buf) >= coalesce {
			if err := flush(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	err := flush(buf)
	*buffer = buf
	if count > 0 { // only messages that could not be delivered
		s.box.wrote(count, bytes)
	}
	return err
}

// encode returns the frame of an item: one that others use too, or appended to buf.
// A message that this peer cannot be sent is replaced by what tells whoever waits
// for it, or counted.
func (s *session) encode(buf []byte, it *item) (shared, grown []byte) {
	switch {
	case it.payload != nil:
		if it.variant&variantUnknown != 0 || it.retain {
			return nil, s.appendMessage(buf, it.event())
		}
		key := wire.FrameKey{
			Framing: s.link.framing(), Serialization: s.link.serialization(),
			Subscription: it.sub, Publication: it.pub, Variant: it.variant,
		}
		frame, err := it.payload.Frame(key, func() ([]byte, error) { return s.frame(nil, it.event()) })
		if err != nil || !s.link.fits(len(frame)) {
			s.undeliverable(it.event(), err)
			return nil, buf
		}
		return frame, buf
	default:
		if raw, ok := it.msg.(control); ok {
			return nil, append(buf, raw...)
		}
		return nil, s.appendMessage(buf, it.msg)
	}
}

// event is the message of a compact item.
func (it *item) event() *wamp.Event {
	return &wamp.Event{Subscription: it.sub, Publication: it.pub, Details: it.details, Arguments: wire.Opaque(it.payload)}
}

func (s *session) frame(dst []byte, msg wamp.Message) ([]byte, error) {
	return s.link.frame(dst, func(b []byte) ([]byte, error) { return wire.Append(b, s.link.serialization(), msg) })
}

func (s *session) appendMessage(buf []byte, msg wamp.Message) []byte {
	out, err := s.frame(buf, msg)
	if err == nil && s.link.fits(len(out)-len(buf)) {
		return out
	}
	if instead := s.undeliverable(msg, err); instead != nil {
		if out, err := s.frame(buf, instead); err == nil && s.link.fits(len(out)-len(buf)) {
			return out
		}
	}
	return buf
}

// errTooLong is what a caller or callee gets in place of a message longer than its
// transport was told to accept (WAMP specification, "Predefined URIs").
const errTooLong = wamp.URI("wamp.error.payload_size_exceeded")

// undeliverable deals with a message that cannot be put into this peer's
// serialisation or is longer than the peer accepts. It returns what to send instead.
func (s *session) undeliverable(msg wamp.Message, err error) wamp.Message {
	uri, why := errTooLong, "the message is longer than the recipient accepts"
	if err != nil {
		uri, why = wamp.ErrInvalidArgument, "the payload cannot be expressed as "+s.link.serialization().String()+": "+err.Error()
	}
	s.router.counters.undeliverable.Add(1)
	s.warn("message undeliverable", slog.String("message", msg.MessageType().String()), slog.String("reason", why))
	switch m := msg.(type) {
	case *wamp.Result:
		if flag(m.Details, wamp.OptProgress) {
			return nil // the final one is still to come
		}
		return requestError(wamp.CALL, m.Request, uri, why)
	case *wamp.Error:
		return requestError(m.Type, m.Request, m.Error, "")
	case *wamp.Invocation:
		s.inject(invocationError(m.Request, uri, why))
	case *wamp.Event:
	default: // without its WELCOME, for example, the peer would wait for ever
		s.fail(causeLost, why)
	}
	return nil
}
