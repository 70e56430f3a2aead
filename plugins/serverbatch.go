package plugins

import "github.com/anybridge/anybridge/plugins/internal/pb"

// The batches that the plugin sends, one type per stream.

type publishReplyBatch struct {
	stream  pb.Backend_PublishServer
	msg     pb.PublishReplyBatch
	replies slab[pb.PublishReply, *pb.PublishReply]
}

func (b *publishReplyBatch) add(r publishReply) int {
	m := b.replies.next()
	m.Id, m.EventId, m.Withheld, m.Error = r.id, text(r.eventID), r.withheld, errorToPB(r.err)
	return r.size()
}

func (b *publishReplyBatch) send() error {
	b.msg.Replies = b.replies.batch()
	err := b.stream.Send(&b.msg)
	b.replies.reset()
	return err
}

type callReplyBatch struct {
	stream  pb.Backend_CallServer
	msg     pb.CallReplyBatch
	replies slab[pb.CallReply, *pb.CallReply]
}

func (b *callReplyBatch) add(a answer) int {
	setAnswer(b.replies.next(), a)
	return a.size()
}

func (b *callReplyBatch) send() error {
	b.msg.Replies = b.replies.batch()
	err := b.stream.Send(&b.msg)
	b.replies.reset()
	return err
}

type eventBatch struct {
	stream pb.Backend_SubscribeServer
	msg    pb.EventBatch
	events slab[pb.Event, *pb.Event]
}

func (b *eventBatch) add(o feedOutput) int {
	switch {
	case o.event != nil:
		setEvent(b.events.next(), o.feed, o.event)
		return eventSize(o.event)
	case o.ended:
		b.msg.Ended = append(b.msg.Ended, &pb.FeedReply{Id: o.feed, Error: errorToPB(o.err)})
	default:
		b.msg.Opened = append(b.msg.Opened, &pb.FeedReply{Id: o.feed, Error: errorToPB(o.err), Confirms: o.confirms})
	}
	return entryOverhead
}

func (b *eventBatch) send() error {
	b.msg.Events = b.events.batch()
	err := b.stream.Send(&b.msg)
	b.events.reset()
	b.msg.Reset()
	return err
}

type invocationBatch struct {
	stream      pb.Backend_RegisterServer
	msg         pb.InvocationBatch
	invocations slab[pb.Invocation, *pb.Invocation]
}

func (b *invocationBatch) add(o feedOutput) int {
	switch {
	case o.invocation != nil:
		setInvocation(b.invocations.next(), o.id, o.feed, o.invocation)
		return invocationSize(o.invocation)
	case o.canceled:
		b.msg.Canceled = append(b.msg.Canceled, o.id)
	case o.ended:
		b.msg.Ended = append(b.msg.Ended, &pb.FeedReply{Id: o.feed, Error: errorToPB(o.err)})
	default:
		b.msg.Opened = append(b.msg.Opened, &pb.FeedReply{Id: o.feed, Error: errorToPB(o.err)})
	}
	return entryOverhead
}

func (b *invocationBatch) send() error {
	b.msg.Invocations = b.invocations.batch()
	err := b.stream.Send(&b.msg)
	b.invocations.reset()
	b.msg.Reset()
	return err
}
