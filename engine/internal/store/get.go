package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Last returns the last message of a subject, or ErrNotFound.
func (s *Store) Last(ctx context.Context, stream, subject string) (*Msg, error) {
	return message(s.streams[stream].GetLastMsgForSubject(ctx, subject))
}

// Next returns the first message at or after seq whose subject matches, or
// ErrNotFound.
func (s *Store) Next(ctx context.Context, stream, subject string, seq uint64) (*Msg, error) {
	return message(s.streams[stream].GetMsg(ctx, max(1, seq), jetstream.WithGetMsgSubject(subject)))
}

func message(m *jetstream.RawStreamMsg, err error) (*Msg, error) {
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	return &Msg{Subject: m.Subject, Seq: m.Sequence, Time: m.Time, Header: m.Header, Data: m.Data}, nil
}

// Counts returns how many messages there are on each subject that matches.
func (s *Store) Counts(ctx context.Context, stream, subject string) (map[string]uint64, error) {
	info, err := s.streams[stream].Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	return info.State.Subjects, nil
}

// End is the last sequence number of a stream as it was when the store was opened. A
// shared store has been open all along: for it, that is the largest number.
func (s *Store) End(stream string) uint64 {
	if s.Shared() {
		return math.MaxUint64
	}
	return s.ends[stream]
}

// Size is what a stream holds.
type Size struct {
	Messages, Bytes uint64
	Last            uint64 // the last sequence number
	First           time.Time
}

// Size returns what a stream holds.
func (s *Store) Size(ctx context.Context, stream string) (Size, error) {
	info, err := s.streams[stream].Info(ctx)
	if err != nil {
		return Size{}, fmt.Errorf("read the store: %w", err)
	}
	return Size{Messages: info.State.Msgs, Bytes: info.State.Bytes, Last: info.State.LastSeq, First: info.State.FirstTime}, nil
}
