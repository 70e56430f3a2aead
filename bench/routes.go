package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/anybridge/anybridge/bench/internal/lean"
	"github.com/anybridge/anybridge/bench/internal/proc"
	"github.com/anybridge/anybridge/bench/internal/roles"
)

// routed is a bridge with a route from the topic to a channel of Redis.
type routed struct {
	*bridge
	redis *redisServer
	sink  *role
}

func (l *lab) routed(more string) (*routed, error) {
	r, sink, channel, err := l.redisSink()
	if err != nil {
		return nil, err
	}
	b, err := l.bridge(redisBackend(r), fmt.Sprintf("routes:\n  - {name: bench, from: \"wamp:%s\", to: \"redis:%s\"%s}\n", topic, channel, more))
	if err != nil {
		return nil, err
	}
	return &routed{bridge: b, redis: r, sink: sink}, awaitEvent(b.wamp, sink)
}

func bridgeRoute(more string) func(*lab) (*contender, error) {
	return func(l *lab) (*contender, error) {
		b, err := l.routed(more)
		if err != nil {
			return nil, err
		}
		c, err := l.deliverContender(b.wamp, b.sink, b.Process, b.redis.Process)
		if err != nil {
			return nil, err
		}
		return b.counting(c), nil
	}
}

// bridgeRouteFlooded measures arrivals while the publishers wait for nothing but
// their acknowledgements. What has not arrived the route must have counted.
func bridgeRouteFlooded(l *lab) (*contender, error) {
	b, err := l.routed("")
	if err != nil {
		return nil, err
	}
	load, err := l.role("load", "load-publish", "-url", b.wamp, "-realm", realm, "-topic", topic, "-conns", fmt.Sprint(l.opt.conns))
	if err != nil {
		return nil, err
	}
	c := loadContender(load, []*proc.Process{b.Process, b.redis.Process, b.sink.Process})
	publish := c.measure
	c.measure = func(d time.Duration) (sample, error) {
		before, err := b.counts()
		if err != nil {
			return sample{}, err
		}
		start := time.Now()
		s, err := publish(d)
		if err != nil {
			return s, err
		}
		after, err := b.settled(before, s.ops)
		if err != nil {
			return s, err
		}
		carried := after.Carried - before.Carried
		got, err := drain(b.sink, carried)
		if err != nil {
			return s, err
		}
		published := s.value
		s.value = float64(got.Ops) / time.Since(start).Seconds()
		s.p50, s.p99 = got.P50, got.P99
		s.note = fmt.Sprintf("published %s/s, %s; %s", number(published), after.since(before), arrived(got.Ops, s.ops))
		if got.Ops != carried {
			s.errors++
			s.firstError = fmt.Sprintf("%d were carried, %d have arrived", carried, got.Ops)
		}
		return s, nil
	}
	return c, nil
}

func arrived(got, of int64) string {
	return fmt.Sprintf("received %s of %s", number(float64(got)), number(float64(of)))
}

// floorRoute is a loop by hand on the same router.
func floorRoute(pipeline bool) func(*lab) (*contender, error) {
	return func(l *lab) (*contender, error) {
		r, sink, channel, err := l.redisSink()
		if err != nil {
			return nil, err
		}
		b, err := l.bridge()
		if err != nil {
			return nil, err
		}
		loop, err := l.role("loop", "loop-redis", "-url", b.wamp, "-realm", realm, "-topic", topic,
			"-addr", r.addr, "-channel", channel, fmt.Sprintf("-pipeline=%t", pipeline))
		if err != nil {
			return nil, err
		}
		if err := awaitEvent(b.wamp, sink); err != nil {
			return nil, err
		}
		return l.deliverContender(b.wamp, sink, b.Process, loop.Process, r.Process)
	}
}

// awaitEvent publishes until an event arrives at the sink.
func awaitEvent(url string, sink *role) error {
	codec, err := lean.CodecNamed("json")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := lean.Join(ctx, url, realm, codec, 4096)
	if err != nil {
		return err
	}
	defer s.Close()
	for ctx.Err() == nil {
		stamp := fmt.Sprintf("t=%d", time.Now().UnixNano())
		b, err := codec.Marshal([]any{lean.Publish, s.NextID(), struct{}{}, topic, []any{stamp}})
		if err != nil {
			return err
		}
		if err := s.Send(codec.Op, b); err != nil {
			return err
		}
		got, err := sink.do(roles.Command{Do: roles.Drain, Expect: 1, Timeout: time.Second})
		if err != nil || got.Ops > 0 {
			return err
		}
	}
	return errors.New("no event arrives")
}

// routeCounts are what a route says of what it has done.
type routeCounts struct {
	Carried  int64 `json:"carried"`
	Filtered int64 `json:"filtered"`
	Dropped  int64 `json:"dropped"`
	Refused  int64 `json:"refused"`
	Failed   int64 `json:"failed"`
	Braked   int64 `json:"braked"`

	LastError string `json:"last_error"`
}

func (c routeCounts) total() int64 {
	return c.Carried + c.Filtered + c.Dropped + c.Refused + c.Failed + c.Braked
}

func (c routeCounts) since(o routeCounts) string {
	s := fmt.Sprintf("route: carried %s, dropped %s, refused %s", number(float64(c.Carried-o.Carried)),
		number(float64(c.Dropped-o.Dropped)), number(float64(c.Refused-o.Refused)))
	if c.Refused > o.Refused {
		s += " (" + c.LastError + ")"
	}
	return s
}

func (b *bridge) counts() (routeCounts, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+b.addr+"/status/", http.NoBody)
	if err != nil {
		return routeCounts{}, err
	}
	req.Header.Set("Authorization", "Bearer "+benchToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return routeCounts{}, fmt.Errorf("status: %w", err)
	}
	defer res.Body.Close()
	var status struct {
		Routes []routeCounts `json:"routes"`
	}
	if err := json.NewDecoder(res.Body).Decode(&status); err != nil {
		return routeCounts{}, fmt.Errorf("status: %w", err)
	}
	if res.StatusCode != http.StatusOK || len(status.Routes) != 1 {
		return routeCounts{}, fmt.Errorf("status: %s, %d routes", res.Status, len(status.Routes))
	}
	return status.Routes[0], nil
}

// settled waits until the route has accounted for so many events more.
func (b *bridge) settled(before routeCounts, events int64) (now routeCounts, err error) {
	err = await(20*time.Second, 5*time.Millisecond, b.Process, func() error {
		if now, err = b.counts(); err != nil {
			return err
		}
		if n := now.total() - before.total(); n != events {
			return fmt.Errorf("of %d events the route has counted %d", events, n)
		}
		return nil
	})
	return now, err
}

// counting compares what has arrived with what the route says.
func (b *routed) counting(c *contender) *contender {
	deliver := c.measure
	c.measure = func(d time.Duration) (sample, error) {
		before, err := b.counts()
		if err != nil {
			return sample{}, err
		}
		s, err := deliver(d)
		if err != nil {
			return s, err
		}
		after, err := b.settled(before, s.ops)
		if err != nil {
			return s, err
		}
		s.note += ", " + after.since(before)
		return s, nil
	}
	return c
}
