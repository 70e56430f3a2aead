package plugins

import "github.com/anybridge/anybridge/plugins/internal/pb"

// The batches that the host sends, one type per stream.

type publishBatch struct {
	stream pb.Backend_PublishClient
	msg    pb.PublishBatch
	events slab[pb.Event, *pb.Event]
}

func (b *publishBatch) add(r request) int {
	if r.event == nil {
		b.msg.Cancel = append(b.msg.Cancel, r.id)
	} else {
		m := b.events.next()
		setEvent(m, r.id, r.event)
		m.TimeoutNanos, m.Sequence = int64(r.timeout), r.sequence
	}
	return r.size()
}

func (b *publishBatch) send() error {
	b.msg.Events = b.events.batch()
	err := b.stream.Send(&b.msg)
	b.events.reset()
	b.msg.Cancel = b.msg.Cancel[:0]
	return err
}

type callBatch struct {
	stream pb.Backend_CallClient
	msg    pb.CallBatch
	calls  slab[pb.Call, *pb.Call]
}

func (b *callBatch) add(r request) int {
	if r.call == nil {
		b.msg.Cancel = append(b.msg.Cancel, r.id)
	} else {
		setCall(b.calls.next(), r.id, r.call, r.timeout)
	}
	return r.size()
}

func (b *callBatch) send() error {
	b.msg.Calls = b.calls.batch()
	err := b.stream.Send(&b.msg)
	b.calls.reset()
	b.msg.Cancel = b.msg.Cancel[:0]
	return err
}

type subscribeBatch struct {
	stream pb.Backend_SubscribeClient
	msg    pb.SubscribeBatch
}

func (b *subscribeBatch) add(m feedMessage) int {
	switch {
	case m.open != nil:
		b.msg.Open = append(b.msg.Open, m.open)
	case m.credit != nil:
		b.msg.Credit = append(b.msg.Credit, m.credit)
	case m.done != nil:
		b.msg.Confirm = append(b.msg.Confirm, m.done)
	default:
		b.msg.Close = append(b.msg.Close, m.close)
	}
	return entryOverhead
}

func (b *subscribeBatch) send() error {
	err := b.stream.Send(&b.msg)
	b.msg.Reset()
	return err
}

type registerBatch struct {
	stream  pb.Backend_RegisterClient
	msg     pb.RegisterBatch
	answers slab[pb.CallReply, *pb.CallReply]
}

func (b *registerBatch) add(m feedMessage) int {
	switch {
	case m.open != nil:
		b.msg.Open = append(b.msg.Open, m.open)
	case m.credit != nil:
		b.msg.Credit = append(b.msg.Credit, m.credit)
	case m.close != 0:
		b.msg.Close = append(b.msg.Close, m.close)
	default:
		setAnswer(b.answers.next(), m.answer)
		return m.answer.size()
	}
	return entryOverhead
}

func (b *registerBatch) send() error {
	b.msg.Answers = b.answers.batch()
	err := b.stream.Send(&b.msg)
	b.answers.reset()
	b.msg.Reset()
	return err
}
