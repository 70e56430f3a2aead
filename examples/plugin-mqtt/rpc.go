package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/anybridge/anybridge/core"
)

// replyPatience is how long an answer may take to reach the server.
const replyPatience = 5 * time.Second

// replies is the topic on which answers to our calls come.
func (b *backend) replies() string { return b.config.Prefix + "reply/" + b.client }

// Call implements core.Backend: MQTT 5's request/response.
func (b *backend) Call(ctx context.Context, c *core.Call) (*core.Result, error) {
	topic, err := b.topic("rpc/", c.Procedure.Name)
	if err != nil {
		return nil, err
	}
	answer := make(chan *paho.Publish, 1)
	b.mu.Lock()
	id := strconv.Itoa(b.id())
	b.calls[id] = answer
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.calls, id)
	}()
	props := &paho.PublishProperties{ResponseTopic: b.replies(), CorrelationData: []byte(id)}
	if deadline, ok := ctx.Deadline(); ok {
		props.User.Add("timeout", strconv.FormatInt(max(1, time.Until(deadline).Milliseconds()), 10))
	}
	heard, err := b.send(ctx, &paho.Publish{Topic: topic, Payload: []byte(c.JSON()), Properties: props})
	switch {
	case err != nil:
		return nil, err
	case !heard:
		return nil, core.Errorf(core.NoSuchProcedure, "nobody listens on the topic %s", topic)
	}
	up := b.connection()
	if up == nil {
		return nil, core.Errorf(core.Unavailable, "the MQTT server is away")
	}
	select {
	case m := <-answer:
		if code := m.Properties.User.Get("error"); code != "" {
			return nil, &core.Error{
				Code: core.Code(code), URI: m.Properties.User.Get("uri"), Message: m.Properties.User.Get("message"), Payload: payload(m.Payload),
			}
		}
		return &core.Result{Payload: payload(m.Payload)}, nil
	case <-up.Done():
		return nil, core.Errorf(core.Unavailable, "the connection to the MQTT server was lost")
	case <-ctx.Done():
		return nil, core.AsError(ctx.Err())
	}
}

// Register implements core.Backend. MQTT cannot tell whether somebody else has the
// procedure; a shared subscription makes sure that each call reaches one of them.
func (b *backend) Register(ctx context.Context, p core.Pattern, _ core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	topic, err := b.topic("rpc/", p.Name)
	if err != nil {
		return nil, err
	}
	topic = "$share/anybridge/" + topic
	calls := &calls{Pipe: core.NewPipe[*core.Invocation](0, queueBytes, func() {
		b.leave(topic, func(*filter) bool { return true })
	})}
	b.mu.Lock()
	f := &filter{id: b.id(), calls: calls, serves: p.Address}
	taken := b.filters[topic] != nil
	if !taken {
		b.filters[topic] = f
	}
	b.mu.Unlock()
	if taken {
		return nil, core.Errorf(core.AlreadyExists, "%s is registered already", p)
	}
	if err := b.join(ctx, f.subscribe(topic, 0)); err != nil {
		_ = calls.Close()
		return nil, err
	}
	return calls, nil
}

// calls is a registration's stream. It knows which invocations nobody has taken.
type calls struct {
	*core.Pipe[*core.Invocation]
	mu   sync.Mutex
	idle []*core.Invocation
}

// Next implements core.Stream.
func (c *calls) Next(ctx context.Context) ([]*core.Invocation, error) {
	batch, err := c.Pipe.Next(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = slices.DeleteFunc(c.idle, func(inv *core.Invocation) bool { return slices.Contains(batch, inv) })
	return batch, err
}

// Close implements core.Stream.
func (c *calls) Close() error {
	_ = c.Pipe.Close()
	c.mu.Lock()
	idle := c.idle
	c.idle = nil
	c.mu.Unlock()
	for _, inv := range idle {
		inv.Reply(nil, core.Errorf(core.Unavailable, "%s is not registered any more", inv.Procedure))
	}
	return nil
}

// invoked hands a call to the bridge. b.mu is held.
func (b *backend) invoked(f *filter, m *paho.Publish) {
	inv := &core.Invocation{Procedure: f.serves, Payload: payload(m.Payload)}
	if ms, err := strconv.Atoi(m.Properties.User.Get("timeout")); err == nil && ms > 0 {
		inv.Timeout = time.Duration(ms) * time.Millisecond
	}
	var once sync.Once
	inv.Reply = func(r *core.Result, err error) { once.Do(func() { b.answer(inv, r, err) }) }
	b.open[inv] = m
	f.calls.mu.Lock()
	f.calls.idle = append(f.calls.idle, inv)
	f.calls.mu.Unlock()
	if !f.calls.TryPut(inv, inv.Size()) {
		b.work.Go(func() { inv.Reply(nil, core.Errorf(core.TooMany, "too many calls are waiting")) })
	}
}

// answer sends a result or an error on a goroutine of its own.
func (b *backend) answer(inv *core.Invocation, r *core.Result, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.open[inv]
	delete(b.open, inv)
	if m == nil || m.Properties.ResponseTopic == "" {
		return
	}
	props := &paho.PublishProperties{CorrelationData: m.Properties.CorrelationData}
	answer := &paho.Publish{Topic: m.Properties.ResponseTopic, Properties: props, Payload: []byte("{}")}
	if e := core.AsError(err); e != nil {
		props.User.Add("error", string(e.Code)).Add("uri", text(e.URI)).Add("message", text(e.Message))
		answer.Payload = []byte(e.JSON())
	} else if r != nil {
		answer.Payload = []byte(r.JSON())
	}
	b.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), replyPatience)
		defer cancel()
		_, _ = b.send(ctx, answer) // the caller is gone, then
	})
}

// text leaves out what MQTT's strings must not hold.
func text(s string) string {
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s), "?")
}
