package main

import (
	"strconv"
	"time"

	"github.com/anybridge/anybridge/bench/internal/proc"
)

func floorHTTPToHTTP(l *lab) (*contender, error) {
	callee, err := l.role("callee", "callee-http")
	if err != nil {
		return nil, err
	}
	forwarder, err := l.role("forwarder", "forward-http", "-to", "http://"+callee.ready.Addr+"/add2")
	if err != nil {
		return nil, err
	}
	return l.httpContender(httpLoad{addr: forwarder.ready.Addr, path: "/call", body: callBody, sum: true},
		forwarder.Process, callee.Process)
}

func floorWAMPToHTTP(l *lab) (*contender, error) {
	callee, err := l.role("callee", "callee-http")
	if err != nil {
		return nil, err
	}
	forwarder, err := l.role("forwarder", "forward-ws", "-to", "http://"+callee.ready.Addr+"/add2")
	if err != nil {
		return nil, err
	}
	return l.callContender("ws://"+forwarder.ready.Addr+"/ws", "[$A,$B]", false, forwarder.Process, callee.Process)
}

func floorEcho(l *lab) (*contender, error) {
	echo, err := l.role("echo", "echo")
	if err != nil {
		return nil, err
	}
	return l.httpContender(httpLoad{addr: echo.ready.Addr, path: "/", body: eventBody}, echo.Process)
}

func floorDeliver(l *lab) (*contender, error) {
	sink, err := l.role("sink", "sink-http")
	if err != nil {
		return nil, err
	}
	forwarder, err := l.role("forwarder", "forward-ws", "-to", "http://"+sink.ready.Addr+"/tick")
	if err != nil {
		return nil, err
	}
	return l.deliverContender("ws://"+forwarder.ready.Addr+"/ws", sink, forwarder.Process)
}

func (l *lab) nexus() (*role, string, error) {
	router, err := l.role("nexus", "nexus", "-realm", realm)
	if err != nil {
		return nil, "", err
	}
	return router, "ws://" + router.ready.Addr + "/ws", nil
}

func nexusFanout(l *lab) (*contender, error) {
	router, url, err := l.nexus()
	if err != nil {
		return nil, err
	}
	return l.fanoutContender(url, router.Process)
}

func (l *lab) fanoutContender(url string, processes ...*proc.Process) (*contender, error) {
	load, err := l.role("clients", "fanout", "-url", url, "-realm", realm, "-topic", topic, "-serializer", l.opt.serializer,
		"-subscribers", strconv.Itoa(l.opt.subscribers), "-window", strconv.Itoa(l.opt.window))
	if err != nil {
		return nil, err
	}
	return loadContender(load, processes), nil
}

func nexusRouting(nexusClient bool) func(*lab) (*contender, error) {
	return func(l *lab) (*contender, error) {
		router, url, err := l.nexus()
		if err != nil {
			return nil, err
		}
		callee, err := l.wampCallee(url, nexusClient)
		if err != nil {
			return nil, err
		}
		return l.callContender(url, "[$A,$B]", nexusClient, router.Process, callee.Process)
	}
}

func (l *lab) wampCallee(url string, nexusClient bool) (*role, error) {
	return l.role("callee", "callee-wamp", "-url", url, "-realm", realm, "-procedure", procedure,
		"-serializer", l.opt.serializer, "-nexus-client="+strconv.FormatBool(nexusClient))
}

func nexusStart(l *lab) (*contender, error) {
	return &contender{measure: func(time.Duration) (sample, error) {
		defer l.stopAll()
		start := time.Now()
		router, url, err := l.nexus()
		if err != nil {
			return sample{}, err
		}
		if err := await(10*time.Second, time.Millisecond, router.Process, func() error { return joinable(url) }); err != nil {
			return sample{}, err
		}
		return sample{value: milliseconds(time.Since(start))}, nil
	}}, nil
}

func nexusIdle(l *lab) (*contender, error) {
	return l.idleContender(func() (*proc.Process, error) {
		router, _, err := l.nexus()
		if err != nil {
			return nil, err
		}
		return router.Process, nil
	}), nil
}
