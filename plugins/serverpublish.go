package plugins

import (
	"context"
	"slices"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/internal/pb"
)

// publishing is the Publish stream on the plugin's side.
type publishing struct {
	server  *server
	name    string // of the backend
	backend core.Backend
	batches core.BatchPublisher // the backend, if it is one
	stream  pb.Backend_PublishServer
	answers *answering[publishJob, publishReply]
	inOrder *sequences
}

// publishJob is one event, or several that the backend takes at once.
type publishJob struct {
	ctx    context.Context //nolint:containedctx // the job is an argument list on its way to another goroutine
	ids    []uint64
	events []*core.Event
}

// Publish implements pb.BackendServer.
func (s *server) Publish(stream pb.Backend_PublishServer) error {
	backend, name, _, err := s.opened()
	if err != nil {
		return err
	}
	p := &publishing{server: s, name: name, backend: backend, stream: stream}
	p.batches, _ = backend.(core.BatchPublisher)
	p.answers = newAnswering(stream.Context(), &s.publishes, func(_ *answering[publishJob, publishReply], job publishJob) { p.publish(job) })
	p.inOrder = newSequences(p.publish)
	receive := func() error {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		p.received(m.GetEvents())
		p.answers.running.end(m.GetCancel()...)
		return nil
	}
	return p.answers.serve(stream.Context(), receive, &publishReplyBatch{stream: stream})
}

// received starts what the host has sent together: each sequence in its order, and what
// is in none at once, as one job if the backend can do that.
func (p *publishing) received(events []*pb.Event) {
	for len(events) > 0 {
		n := 1
		sequence := events[0].GetSequence()
		for p.together(sequence) && n < len(events) && events[n].GetSequence() == sequence {
			n++
		}
		if job := p.job(events[:n]); len(job.ids) == 0 {
			// all of them were refused
		} else if sequence != 0 {
			p.inOrder.add(sequence, job)
		} else {
			p.answers.pool.do(job)
		}
		events = events[n:]
	}
}

func (p *publishing) together(sequence uint64) bool { return sequence != 0 || p.batches != nil }

// job makes the job of events that share a context: it lasts as long as any of them may
// take.
func (p *publishing) job(events []*pb.Event) publishJob {
	j := publishJob{ids: make([]uint64, 0, len(events)), events: make([]*core.Event, 0, len(events))}
	var longest time.Duration
	endless := false
	for _, e := range events {
		id := e.GetId()
		if !p.answers.enter(func(err error) publishReply { return publishReply{id: id, err: err} }) {
			continue
		}
		timeout := time.Duration(e.GetTimeoutNanos())
		longest, endless = max(longest, timeout), endless || timeout == 0
		j.ids = append(j.ids, id)
		j.events = append(j.events, eventFromPB(e, p.name))
	}
	if endless {
		longest = 0
	}
	if len(j.ids) > 0 {
		ctx, own := p.answers.running.open(p.stream.Context(), longest)
		p.answers.running.add(own, j.ids...)
		j.ctx = ctx
	}
	return j
}

// publish publishes a job's events and replies to them.
func (p *publishing) publish(job publishJob) {
	given := make([]string, len(job.events))
	for i, e := range job.events {
		given[i] = e.ID
	}
	if len(job.events) > 1 && p.batches != nil {
		for i, err := range p.publishAtOnce(job) {
			p.published(job, i, given[i], err)
		}
		return
	}
	for i, e := range job.events {
		p.published(job, i, given[i], p.server.publish(job.ctx, p.backend, e))
	}
}

func (p *publishing) publishAtOnce(job publishJob) []error {
	var errs []error
	err := p.server.guard("publish", func() error {
		errs = p.batches.PublishBatch(job.ctx, job.events)
		return nil
	})
	if err == nil && len(errs) != len(job.events) {
		err = core.Errorf(core.Internal, "PublishBatch has returned %d errors for %d events", len(errs), len(job.events))
	}
	if err != nil {
		return slices.Repeat([]error{err}, len(job.events))
	}
	return errs
}

func (p *publishing) published(job publishJob, i int, given string, err error) {
	e := job.events[i]
	reply := publishReply{id: job.ids[i], withheld: e.Withheld, err: err}
	if e.ID != given {
		reply.eventID = e.ID
	}
	p.answers.answered(job.ids[i], reply, reply.size())
}

type publishReply struct {
	id       uint64
	eventID  string
	withheld bool
	err      error
}

func (r publishReply) size() int { return entryOverhead + len(r.eventID) + errorSize(r.err) }

// publish is backend.Publish behind a guard of its own: a closure for guard would
// cost an allocation for every event. The same goes for call.
func (s *server) publish(ctx context.Context, backend core.Backend, e *core.Event) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = s.panicked("publish", r)
		}
	}()
	return backend.Publish(ctx, e)
}
