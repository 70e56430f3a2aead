package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/anybridge/anybridge/bench/internal/proc"
)

// bridgePlugins measures what the processes of a bridge with every backend hold, idle
// and after events have been routed to all of them for a while, as fast as the router
// takes them.
func bridgePlugins(l *lab) (*contender, error) {
	if l.productErr != nil {
		return nil, l.productErr
	}
	return &contender{measure: func(d time.Duration) (sample, error) {
		defer l.stopAll()
		r, sink, channel, err := l.redisSink()
		if err != nil {
			return sample{}, err
		}
		irc, err := l.startNgIRCd()
		if err != nil {
			return sample{}, err
		}
		xmpp, err := l.startProsody()
		if err != nil {
			return sample{}, err
		}
		b, err := l.bridge(redisBackend(r),
			fmt.Sprintf("  irc: {kind: irc, server: %q, tls: false, nick: bench, channels: [\"#bench\"]}\n", irc),
			fmt.Sprintf("  xmpp: {kind: xmpp, jid: \"%s@%s/bridge\", password: %q, server: %q, tls: none, rooms: [\"bench@rooms.%s\"]}\n",
				xmppAccount, xmppDomain, benchToken, xmpp, xmppDomain),
			fmt.Sprintf("routes:\n  - {name: bench, from: \"wamp:%s\", to: [\"redis:%s\", \"irc:#bench\", \"xmpp:bench@rooms.%s\"]}\n", topic, channel, xmppDomain))
		if err != nil {
			return sample{}, err
		}
		if err := awaitEvent(b.wamp, sink); err != nil {
			return sample{}, err
		}
		time.Sleep(5 * time.Second)
		idle, err := b.Usage()
		if err != nil {
			return sample{}, err
		}
		load, err := l.role("load", "load-publish", "-url", b.wamp, "-realm", realm, "-topic", topic, "-conns", fmt.Sprint(l.opt.conns))
		if err != nil {
			return sample{}, err
		}
		s, err := loadContender(load, nil).measure(d)
		if err != nil {
			return sample{}, err
		}
		loaded, err := b.Usage()
		if err != nil {
			return sample{}, err
		}
		// At its end the bridge would carry what waits, at the pace of the slowest.
		if err := b.Kill(); err != nil {
			return sample{}, err
		}
		return sample{
			value: megabytes(idle), usage: costs(idle, idle), errors: s.errors, firstError: s.firstError,
			note: fmt.Sprintf("after %s events: %.0f MB, %s", number(float64(s.ops)), megabytes(loaded), each(loaded)),
		}, nil
	}}, nil
}

func megabytes(usage []proc.Usage) float64 {
	var rss int64
	for _, u := range usage {
		rss += u.RSS
	}
	return float64(rss) / (1 << 20)
}

func each(usage []proc.Usage) string {
	var parts []string
	for _, u := range usage {
		parts = append(parts, fmt.Sprintf("%s %.0f", u.Name, float64(u.RSS)/(1<<20)))
	}
	return strings.Join(parts, ", ")
}
