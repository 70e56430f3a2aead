package roles

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/bench/internal/lean"
	"github.com/anybridge/anybridge/bench/internal/stats"
)

// startFanout is one publisher and many subscribers of its topic. The publisher
// is never more than a window of events ahead of the slowest subscriber: nexus
// forgets events for a session that has 64 waiting, and a window below that
// measures how fast a router is, not how much it loses.
func startFanout(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	url := flags.String("url", "", "")
	realm := flags.String("realm", "realm1", "")
	topic := flags.String("topic", "", "")
	serializer := flags.String("serializer", "json", "json or msgpack")
	subscribers := flags.Int("subscribers", 1000, "")
	window := flags.Int64("window", 16, "events on their way to each subscriber")
	size := flags.Int("size", 64, "bytes of text in an event")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *window < 1 || *window > ringSize {
		return nil, fmt.Errorf("the window must be 1 to %d", ringSize)
	}
	codec, err := lean.CodecNamed(*serializer)
	if err != nil {
		return nil, err
	}
	f := &fanout{
		join:  func() (*lean.Session, error) { return lean.Join(ctx, *url, *realm, codec, 4096) },
		topic: *topic, text: strings.Repeat("x", *size), window: *window,
		progress: make(chan struct{}, 1), readers: make([]reader, *subscribers),
	}
	for i := range f.readers {
		s, err := f.join()
		if err == nil {
			err = s.Subscribe(*topic)
		}
		if err != nil {
			f.close()
			return nil, fmt.Errorf("subscriber %d: %w", i, err)
		}
		r := &f.readers[i]
		r.session, r.sampled = s, i%64 == 0
		f.wg.Go(func() { f.read(r) })
	}
	return &role{do: f.run, close: f.close}, nil
}

type fanout struct {
	join    func() (*lean.Session, error)
	topic   string
	text    string
	window  int64
	readers []reader
	wg      sync.WaitGroup

	// ring counts the deliveries of each event on its way; complete is how many
	// events every subscriber has got.
	ring     [ringSize]slot
	complete atomic.Int64
	progress chan struct{} // told whenever complete grows
	ended    atomic.Int64  // readers whose connection has ended
}

const ringSize = 64

// slot has a cache line to itself.
type slot struct {
	deliveries atomic.Int64
	_          [56]byte
}

// reader is one subscriber. Only some take part in measuring the latency: to
// look for the stamp in every event would cost the machine more than the router's
// own work.
type reader struct {
	session *lean.Session
	sampled bool
	count   atomic.Int64 // events received in this run
	mu      sync.Mutex
	latency stats.Histogram
}

func (f *fanout) read(r *reader) {
	defer f.ended.Add(1)
	n := int64(len(f.readers))
	for {
		event, err := r.session.Read()
		if err != nil {
			return
		}
		if r.sampled {
			r.record(event)
		}
		// Everybody receives in the same order, so an event is complete only after
		// the one before it.
		index := r.count.Add(1) - 1
		slot := &f.ring[index%ringSize].deliveries
		if slot.Add(1) < n {
			continue
		}
		slot.Store(0)
		f.complete.Store(index + 1)
		select {
		case f.progress <- struct{}{}:
		default:
		}
	}
}

func (r *reader) record(event []byte) {
	if stamp, ok := readStamp(event); ok {
		r.mu.Lock()
		r.latency.Record(time.Since(stamp))
		r.mu.Unlock()
	}
}

// run publishes for c.For and waits for what is on its way. Its operations are
// deliveries; what did not arrive within two seconds counts as errors.
func (f *fanout) run(c Command) Report {
	f.reset()
	// As in a loop, the publisher connects anew.
	publisher, err := f.join()
	if err != nil {
		return Report{Errors: 1, FirstError: err.Error()}
	}
	defer publisher.Close()
	start := time.Now()
	var published int64
	err = func() error {
		for ; time.Since(start) < c.For; published++ {
			if err := f.await(published - f.window + 1); err != nil {
				return err
			}
			if err := f.publish(publisher); err != nil {
				return err
			}
		}
		return f.await(published)
	}()
	r := Report{Elapsed: time.Since(start)}
	if err != nil {
		r.FirstError = err.Error()
	}
	var all stats.Histogram
	for i := range f.readers {
		reader := &f.readers[i]
		r.Ops += reader.count.Load()
		reader.mu.Lock()
		all.Merge(&reader.latency)
		reader.mu.Unlock()
	}
	r.Errors = published*int64(len(f.readers)) - r.Ops + f.ended.Load()
	r.P50, r.P99 = all.Quantile(0.5), all.Quantile(0.99)
	return r
}

// reset forgets the last run, which has waited until nothing was on its way.
func (f *fanout) reset() {
	for i := range f.readers {
		r := &f.readers[i]
		r.count.Store(0)
		r.mu.Lock()
		r.latency.Reset()
		r.mu.Unlock()
	}
	for i := range f.ring {
		f.ring[i].deliveries.Store(0)
	}
	f.complete.Store(0)
}

// await waits until every subscriber has received that many events.
func (f *fanout) await(events int64) error {
	if f.complete.Load() >= events {
		return nil
	}
	timeout := time.NewTimer(2 * time.Second)
	defer timeout.Stop()
	for f.complete.Load() < events {
		select {
		case <-f.progress:
		case <-timeout.C:
			return errors.New("events have not arrived for 2 s")
		}
	}
	return nil
}

func (f *fanout) publish(s *lean.Session) error {
	stamp := string(appendStamp(nil, time.Now()))
	b, err := s.Codec.Marshal([]any{
		lean.Publish, s.NextID(), map[string]any{}, f.topic, []any{stamp, f.text},
	})
	if err != nil {
		return err
	}
	return s.Send(s.Codec.Op, b)
}

func (f *fanout) close() {
	for i := range f.readers {
		if s := f.readers[i].session; s != nil {
			s.Close()
		}
	}
	f.wg.Wait()
}
