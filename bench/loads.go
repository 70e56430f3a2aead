package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/anybridge/anybridge/bench/internal/proc"
	"github.com/anybridge/anybridge/bench/internal/roles"
)

// httpLoad is where HTTP callers and publishers send what.
type httpLoad struct {
	addr, path, token, body string
	sum                     bool
}

// httpContender measures a closed loop of HTTP requests; processes are all but the load.
func (l *lab) httpContender(h httpLoad, processes ...*proc.Process) (*contender, error) {
	load, err := l.role("load", "load-http", "-addr", h.addr, "-path", h.path, "-token", h.token, "-body", h.body,
		"-sum="+strconv.FormatBool(h.sum), "-conns", strconv.Itoa(l.opt.conns))
	if err != nil {
		return nil, err
	}
	return loadContender(load, processes), nil
}

// callContender measures a closed loop of WAMP calls.
func (l *lab) callContender(url, args string, nexusClient bool, processes ...*proc.Process) (*contender, error) {
	load, err := l.role("load", "load-call", "-url", url, "-realm", realm, "-procedure", procedure, "-args", args,
		"-nexus-client="+strconv.FormatBool(nexusClient), "-conns", strconv.Itoa(l.opt.conns))
	if err != nil {
		return nil, err
	}
	return loadContender(load, processes), nil
}

// deliverContender measures WAMP publications up to their arrival at an HTTP sink.
func (l *lab) deliverContender(url string, sink *role, processes ...*proc.Process) (*contender, error) {
	load, err := l.role("load", "load-publish", "-url", url, "-realm", realm, "-topic", topic,
		"-feedback", sink.ready.Feedback, "-conns", strconv.Itoa(l.opt.conns))
	if err != nil {
		return nil, err
	}
	c := loadContender(load, append(processes, sink.Process))
	publish := c.measure
	c.measure = func(d time.Duration) (sample, error) {
		start := time.Now()
		s, err := publish(d)
		if err != nil {
			return s, err
		}
		got, err := drain(sink, s.ops)
		if err != nil {
			return s, err
		}
		s.value = float64(got.Ops) / time.Since(start).Seconds()
		s.p50, s.p99 = got.P50, got.P99
		s.countEvents(got, "delivered")
		return s, nil
	}
	return c, nil
}

// loadContender measures whatever a load role does.
func loadContender(load *role, processes []*proc.Process) *contender {
	return &contender{
		processes: append(processes, load.Process),
		measure: func(d time.Duration) (sample, error) {
			r, err := load.do(roles.Command{Do: roles.Run, For: d})
			if err != nil {
				return sample{}, err
			}
			if r.Ops == 0 {
				return sample{}, fmt.Errorf("nothing was done: %s", r.FirstError)
			}
			return sample{
				value: float64(r.Ops) / r.Elapsed.Seconds(),
				ops:   r.Ops, errors: r.Errors, firstError: r.FirstError, p50: r.P50, p99: r.P99,
			}, nil
		},
	}
}

// drain waits until the sink has got the expected events.
func drain(sink *role, expect int64) (roles.Report, error) {
	return sink.do(roles.Command{Do: roles.Drain, Expect: expect, Timeout: 10 * time.Second})
}

// countEvents notes how many of the published events have arrived. A missing one
// is an error; one that came twice is what "at least once" allows, so it is only
// noted.
func (s *sample) countEvents(got roles.Report, verb string) {
	s.note = fmt.Sprintf("%s %s of %s", verb, number(float64(got.Ops)), number(float64(s.ops)))
	missing := max(s.ops-got.Ops, 0)
	if bad := missing + got.Errors; bad > 0 {
		s.errors += bad
		if s.firstError == "" {
			s.firstError = fmt.Sprintf("%d events are missing, %d are not what was sent", missing, got.Errors)
		}
	}
}
