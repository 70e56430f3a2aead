package main

import (
	"fmt"
	"time"

	"github.com/anybridge/anybridge/bench/internal/proc"
)

// redisSink starts a subscriber of a channel that no other contender uses.
func (l *lab) redisSink() (r *redisServer, sink *role, channel string, err error) {
	if r, err = l.startRedis(); err != nil {
		return nil, nil, "", err
	}
	channel = fmt.Sprintf("%s.%d", topic, len(l.running))
	sink, err = l.role("subscriber", "sink-redis", "-addr", r.addr, "-channel", channel)
	return r, sink, channel, err
}

// redisBackend is a line of the configuration's backends.
func redisBackend(r *redisServer) string {
	return fmt.Sprintf("  redis: {kind: redis, url: \"redis://%s\"}\n", r.addr)
}

func bridgePublishRedis(l *lab) (*contender, error) {
	r, sink, channel, err := l.redisSink()
	if err != nil {
		return nil, err
	}
	b, err := l.bridge(redisBackend(r))
	if err != nil {
		return nil, err
	}
	h := httpLoad{addr: b.addr, path: "/publish/redis:" + channel + "/", token: benchToken, body: eventBody}
	return l.publishRedisContender(h, sink, b.Process, r.Process)
}

func floorPublishRedis(l *lab) (*contender, error) {
	r, sink, channel, err := l.redisSink()
	if err != nil {
		return nil, err
	}
	forwarder, err := l.role("forwarder", "forward-redis", "-addr", r.addr, "-channel", channel)
	if err != nil {
		return nil, err
	}
	return l.publishRedisContender(httpLoad{addr: forwarder.ready.Addr, path: "/publish", body: eventBody}, sink, forwarder.Process, r.Process)
}

func webdisPublish(l *lab) (*contender, error) {
	r, sink, channel, err := l.redisSink()
	if err != nil {
		return nil, err
	}
	webdis, addr, err := l.startWebdis(r)
	if err != nil {
		return nil, err
	}
	return l.publishRedisContender(httpLoad{addr: addr, path: "/", body: "PUBLISH/" + channel + "/$T"}, sink, webdis, r.Process)
}

// publishRedisContender measures HTTP publications, and counts the messages at a
// subscriber of the channel.
func (l *lab) publishRedisContender(h httpLoad, sink *role, processes ...*proc.Process) (*contender, error) {
	c, err := l.httpContender(h, append(processes, sink.Process)...)
	if err != nil {
		return nil, err
	}
	publish := c.measure
	c.measure = func(d time.Duration) (sample, error) {
		s, err := publish(d)
		if err != nil {
			return s, err
		}
		got, err := drain(sink, s.ops)
		if err != nil {
			return s, err
		}
		s.countEvents(got, "received")
		s.note += fmt.Sprintf(", event p50 %s p99 %s", latency(got.P50), latency(got.P99))
		return s, nil
	}
	return c, nil
}
