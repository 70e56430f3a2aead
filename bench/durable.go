package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/bench/internal/proc"
	"github.com/anybridge/anybridge/bench/internal/roles"
)

func bridgePublishDeliver(l *lab) (*contender, error) {
	b, err := l.bridge()
	if err != nil {
		return nil, err
	}
	sink, err := l.role("sink", "sink-http")
	if err != nil {
		return nil, err
	}
	if err := b.bind("subscribe", topic, "http://"+sink.ready.Addr+"/tick"); err != nil {
		return nil, err
	}
	return l.publishDeliverContender(b.publishLoad(), sink, b.Process)
}

func (b *bridge) publishLoad() httpLoad {
	return httpLoad{addr: b.addr, path: "/publish/" + topic + "/", token: benchToken, body: eventBody}
}

func floorPublishDeliver(l *lab) (*contender, error) {
	sink, err := l.role("sink", "sink-http")
	if err != nil {
		return nil, err
	}
	forwarder, err := l.role("forwarder", "forward-http", "-to", "http://"+sink.ready.Addr+"/tick")
	if err != nil {
		return nil, err
	}
	return l.publishDeliverContender(httpLoad{addr: forwarder.ready.Addr, path: "/publish", body: eventBody}, sink, forwarder.Process)
}

// publishDeliverContender measures HTTP publications up to their arrival at an HTTP
// sink: what counts is how many have arrived until the last one has, by the time
// that took.
func (l *lab) publishDeliverContender(h httpLoad, sink *role, processes ...*proc.Process) (*contender, error) {
	c, err := l.httpContender(h, append(processes, sink.Process)...)
	if err != nil {
		return nil, err
	}
	publish := c.measure
	c.measure = func(d time.Duration) (sample, error) {
		start := time.Now()
		s, err := publish(d)
		if err != nil {
			return s, err
		}
		published := s.value
		got, err := drain(sink, s.ops)
		if err != nil {
			return s, err
		}
		s.value = float64(got.Ops) / time.Since(start).Seconds()
		s.countEvents(got, "delivered")
		s.note += fmt.Sprintf(", published %s/s, event p50 %s p99 %s", number(published), latency(got.P50), latency(got.P99))
		return s, nil
	}
	return c, nil
}

// bridgeStore measures publications that are owed to an endpoint which is down, so
// that nothing but storing is measured.
func bridgeStore(durability string) func(*lab) (*contender, error) {
	return func(l *lab) (*contender, error) {
		b, err := l.bridge("engine: {durability: " + durability + "}\n")
		if err != nil {
			return nil, err
		}
		port, err := freePort() // nobody listens there
		if err != nil {
			return nil, err
		}
		if err := b.bind("subscribe", topic, fmt.Sprintf("http://127.0.0.1:%d/", port)); err != nil {
			return nil, err
		}
		return l.httpContender(b.publishLoad(), b.Process)
	}
}

// bridgeWaiting lets so many deliveries wait for an endpoint that is down, kills the
// bridge, starts it and the endpoint, and measures to the first delivery.
func bridgeWaiting(count int64) func(*lab) (*contender, error) {
	return func(l *lab) (*contender, error) {
		if l.productErr != nil {
			return nil, l.productErr
		}
		return &contender{measure: func(time.Duration) (sample, error) {
			defer l.stopAll()
			port, err := freePort()
			if err != nil {
				return sample{}, err
			}
			b, err := l.bridge()
			if err != nil {
				return sample{}, err
			}
			url := fmt.Sprintf("http://127.0.0.1:%d/", port)
			if err := b.bind("subscribe", topic, url); err != nil {
				return sample{}, err
			}
			load, err := l.httpContender(b.publishLoad(), b.Process)
			if err != nil {
				return sample{}, err
			}
			stored := int64(0)
			begun := time.Now()
			for stored < count {
				s, err := load.measure(2 * time.Second)
				if err != nil {
					return sample{}, err
				}
				if s.errors > 0 {
					return sample{}, errors.New(s.firstError)
				}
				stored += s.ops
			}
			took := time.Since(begun)
			full, err := b.Usage()
			if err != nil {
				return sample{}, err
			}
			if err := b.Kill(); err != nil {
				return sample{}, err
			}
			arrived := make(chan time.Time, 1)
			var got atomic.Int64
			listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				return sample{}, err
			}
			app := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if got.Add(1) == 1 {
					arrived <- time.Now()
				}
			}), ReadHeaderTimeout: 10 * time.Second}
			go app.Serve(listener) //nolint:errcheck // it ends with Close
			defer app.Close()      //nolint:errcheck // nobody is left to hear
			start := time.Now()
			if err := l.run(b); err != nil {
				return sample{}, err
			}
			if err := b.await(); err != nil {
				return sample{}, err
			}
			ready := time.Since(start)
			if err := b.bind("subscribe", topic, url); err != nil { // as an app does when it starts
				return sample{}, err
			}
			var first time.Duration
			select {
			case at := <-arrived:
				first = at.Sub(start)
			case <-time.After(time.Minute):
				return sample{}, errors.New("nothing arrives")
			}
			const look = 5 * time.Second
			time.Sleep(look)
			rate := float64(got.Load()) / (look.Seconds())
			again, err := b.Usage()
			if err != nil {
				return sample{}, err
			}
			return sample{
				value: milliseconds(first), usage: costs(again, again),
				note: fmt.Sprintf("%s stored at %s/s; bridge %d MB with all of them waiting, ready %.0f ms after the restart, then %s deliveries/s",
					number(float64(stored)), number(float64(stored)/took.Seconds()), full[0].RSS>>20, milliseconds(ready), number(rate)),
			}, nil
		}}, nil
	}
}

// bridgeSubscriptions makes so many subscriptions, restarts the bridge and measures
// to readiness; then one event goes to all of them.
func bridgeSubscriptions(count int) func(*lab) (*contender, error) {
	return func(l *lab) (*contender, error) {
		if l.productErr != nil {
			return nil, l.productErr
		}
		return &contender{measure: func(time.Duration) (sample, error) {
			defer l.stopAll()
			sink, err := l.role("sink", "sink-http")
			if err != nil {
				return sample{}, err
			}
			b, err := l.bridge()
			if err != nil {
				return sample{}, err
			}
			empty, err := b.Usage()
			if err != nil {
				return sample{}, err
			}
			const each = 500
			begun := time.Now()
			for n := 0; n < count; n += each {
				endpoints := map[string]string{}
				for i := n; i < min(n+each, count); i++ {
					endpoints[fmt.Sprintf("%s.%d", topic, i)] = fmt.Sprintf("http://%s/%d", sink.ready.Addr, i)
				}
				if err := b.subscribe(endpoints); err != nil {
					return sample{}, err
				}
			}
			took := time.Since(begun)
			if err := b.Kill(); err != nil {
				return sample{}, err
			}
			start := time.Now()
			if err := l.run(b); err != nil {
				return sample{}, err
			}
			if err := b.await(); err != nil {
				return sample{}, err
			}
			ready := time.Since(start)
			load, err := l.httpContender(httpLoad{addr: b.addr, path: "/publish/" + topic + ".7/", token: benchToken, body: eventBody}, b.Process, sink.Process)
			if err != nil {
				return sample{}, err
			}
			s, err := load.measure(2 * time.Second)
			if err != nil {
				return sample{}, err
			}
			report, err := sink.do(roles.Command{Do: roles.Drain, Expect: s.ops, Timeout: 10 * time.Second})
			if err != nil {
				return sample{}, err
			}
			full, err := b.Usage()
			if err != nil {
				return sample{}, err
			}
			return sample{
				value: milliseconds(ready), usage: costs(full, full),
				note: fmt.Sprintf("subscribed at %s/s; bridge %d MB (%d MB with none), then %s events/s published, %s delivered of %s",
					number(float64(count)/took.Seconds()), full[0].RSS>>20, empty[0].RSS>>20, number(s.value), number(float64(report.Ops)), number(float64(s.ops))),
			}, nil
		}}, nil
	}
}

func (b *bridge) subscribe(endpoints map[string]string) error {
	body, err := json.Marshal(map[string]any{"token": benchToken, "endpoints": endpoints})
	if err != nil {
		return err
	}
	res, err := http.Post("http://"+b.addr+"/subscribe/", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(res.Body)
		return fmt.Errorf("subscribe: %s: %s", res.Status, answer)
	}
	return nil
}
