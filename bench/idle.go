package main

import (
	"context"
	"fmt"
	"time"

	"github.com/anybridge/anybridge/bench/internal/lean"
	"github.com/anybridge/anybridge/bench/internal/proc"
)

// idleContender starts something, leaves it alone for five seconds and reads
// what it and its descendants then hold. The value is the sum of the resident
// sizes, which counts the pages that processes share once for each; the note says
// how much that is without.
func (l *lab) idleContender(start func() (*proc.Process, error)) *contender {
	return &contender{measure: func(time.Duration) (sample, error) {
		defer l.stopAll()
		p, err := start()
		if err != nil {
			return sample{}, err
		}
		time.Sleep(5 * time.Second)
		u, err := p.Usage()
		if err != nil {
			return sample{}, err
		}
		s := sample{usage: costs(u, u)} // its CPU time while it did nothing is no cost of an operation
		var rss, pss int64
		for _, one := range u {
			rss += one.RSS
			pss += one.PSS
		}
		s.value = float64(rss) / (1 << 20)
		s.note = fmt.Sprintf("PSS %.1f MB", float64(pss)/(1<<20))
		return s, nil
	}}
}

// joinable says whether a WAMP router at url lets somebody in.
func joinable(url string) error {
	codec, err := lean.CodecNamed("json")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := lean.Join(ctx, url, realm, codec, 4096)
	if err != nil {
		return err
	}
	s.Close()
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
