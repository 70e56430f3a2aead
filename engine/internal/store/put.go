package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Msg is one message of a stream.
type Msg struct {
	Subject string
	Seq     uint64
	Time    time.Time
	Header  map[string][]string
	Data    []byte
}

// Get returns a header field, or "".
func (m *Msg) Get(field string) string {
	if v := m.Header[field]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Errors of a put.
var (
	// ErrFull means that the store is at its bound.
	ErrFull = errors.New("the store is full")
	// ErrConflict means that somebody else has written the subject meanwhile.
	ErrConflict = errors.New("changed by somebody else")
	// ErrTooLarge means that the server takes no message of this size.
	ErrTooLarge = errors.New("larger than the store takes in one message (max_payload of its server)")
	// ErrUnknown means that no answer came in time: it may be stored.
	ErrUnknown = errors.New("the store did not answer in time")
)

// putTime bounds the wait for one acknowledgement.
const putTime = 5 * time.Second

// waiter is a request whose answer has not come.
type waiter struct {
	done  func(*nats.Msg, error)
	until time.Time
}

// listen opens the subject that answers come on.
func (s *Store) listen() error {
	s.replies = nats.NewInbox()
	sub, err := s.nc.Subscribe(s.replies+".*", s.answer)
	if err != nil {
		return err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil { // bounded by the requests under way
		return err
	}
	s.sub = sub
	s.sweep = time.NewTicker(time.Second)
	go s.sweepLate()
	return nil
}

// answer hands an answer to who waits for it.
func (s *Store) answer(m *nats.Msg) {
	token := m.Subject[len(s.replies)+1:]
	s.mu.Lock()
	w := s.waiting[token]
	delete(s.waiting, token)
	s.mu.Unlock()
	if w == nil {
		return
	}
	if m.Header.Get("Status") == "503" {
		w.done(nil, errors.New("the store is away"))
		return
	}
	w.done(m, nil)
}

func (s *Store) sweepLate() {
	for {
		select {
		case now := <-s.sweep.C:
			s.mu.Lock()
			var late []*waiter
			for token, w := range s.waiting {
				if now.After(w.until) {
					late = append(late, w)
					delete(s.waiting, token)
				}
			}
			s.mu.Unlock()
			for _, w := range late {
				w.done(nil, ErrUnknown)
			}
		case <-s.swept:
			return
		}
	}
}

func (s *Store) failAll(err error) {
	s.mu.Lock()
	all := s.waiting
	s.waiting = map[string]*waiter{}
	s.mu.Unlock()
	for _, w := range all {
		w.done(nil, err)
	}
}

// request sends a message and has done called once: with the answer, or with an
// error after at most putTime and a second.
func (s *Store) request(m *nats.Msg, done func(*nats.Msg, error)) {
	token := strconv.FormatUint(s.next.Add(1), 36)
	m.Reply = s.replies + "." + token
	s.mu.Lock()
	s.waiting[token] = &waiter{done, time.Now().Add(putTime)}
	s.mu.Unlock()
	if err := s.nc.PublishMsg(m); err != nil {
		s.mu.Lock()
		_, mine := s.waiting[token]
		delete(s.waiting, token)
		s.mu.Unlock()
		if errors.Is(err, nats.ErrMaxPayload) {
			err = ErrTooLarge
		} else {
			err = fmt.Errorf("reach the store: %w", err)
		}
		if mine {
			done(nil, err)
		}
	}
}

// Put is what to store.
type Put struct {
	Subject string
	Header  map[string][]string
	Data    []byte
	// ID lets a shared store drop a repetition of the same message.
	ID string
	// IfSeq, if not nil, demands that the subject's last message has this sequence
	// number (0: that there is none); otherwise the error is ErrConflict.
	IfSeq *uint64
}

// Put stores a message and calls done once, on a goroutine that must not be
// blocked: with its sequence number when it is stored, or with an error.
func (s *Store) Put(p Put, done func(seq uint64, err error)) {
	m := &nats.Msg{Subject: p.Subject, Data: p.Data, Header: nats.Header(p.Header)}
	set := func(field, value string) {
		if m.Header == nil {
			m.Header = nats.Header{}
		}
		m.Header[field] = []string{value}
	}
	if stream, _, _ := strings.Cut(strings.TrimPrefix(p.Subject, s.c.Name+"."), "."); holdsOne(stream) {
		set("Nats-Rollup", "sub")
	}
	if p.ID != "" && s.Shared() {
		set("Nats-Msg-Id", p.ID)
	}
	if p.IfSeq != nil {
		set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(*p.IfSeq, 10))
	}
	s.request(m, func(m *nats.Msg, err error) {
		if err != nil {
			done(0, err)
			return
		}
		done(ack(m.Data))
	})
}

// ack reads the server's acknowledgement.
func ack(data []byte) (uint64, error) {
	var a struct {
		Seq   uint64    `json:"seq"`
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return 0, fmt.Errorf("read the store's answer: %w", err)
	}
	if a.Error != nil {
		return 0, a.Error.as()
	}
	return a.Seq, nil
}

type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

// Error codes of the server (errors.json of nats-server).
const (
	codeStorageExceeded    = 10047
	codeAccountExceeded    = 10002
	codeServerExceeded     = 10023
	codeStreamStoreFailed  = 10077
	codeWrongLastSequence  = 10071
	codeWrongLastSequence2 = 10164
	codeTooLarge           = 10054
)

func (e *apiError) as() error {
	switch {
	case e.ErrCode == codeWrongLastSequence, e.ErrCode == codeWrongLastSequence2:
		return ErrConflict
	case e.ErrCode == codeTooLarge:
		return ErrTooLarge
	case e.ErrCode == codeStorageExceeded, e.ErrCode == codeAccountExceeded, e.ErrCode == codeServerExceeded,
		e.ErrCode == codeStreamStoreFailed && strings.Contains(e.Description, "maximum"):
		return fmt.Errorf("%w: %s", ErrFull, e.Description)
	}
	return fmt.Errorf("the store refuses: %s (%d)", e.Description, e.ErrCode)
}

// PutWait stores a message and waits for it.
func (s *Store) PutWait(ctx context.Context, p Put) (seq uint64, err error) {
	type result struct {
		seq uint64
		err error
	}
	done := make(chan result, 1)
	s.Put(p, func(seq uint64, err error) { done <- result{seq, err} })
	select {
	case r := <-done:
		return r.seq, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Purge removes the messages of a subject ("" for all of the stream) below a
// sequence number (0 for all) and calls done once, on a goroutine that must not be
// blocked. done may be nil.
func (s *Store) Purge(stream, subject string, below uint64, done func(error)) {
	type purge struct {
		Filter string `json:"filter,omitempty"`
		Seq    uint64 `json:"seq,omitempty"`
	}
	body, _ := json.Marshal(purge{subject, below})
	s.request(&nats.Msg{Subject: "$JS.API.STREAM.PURGE." + s.name(stream), Data: body}, func(m *nats.Msg, err error) {
		if err == nil {
			var a struct {
				Error *apiError `json:"error"`
			}
			if err = json.Unmarshal(m.Data, &a); err == nil && a.Error != nil {
				err = a.Error.as()
			}
		}
		if done != nil {
			done(err)
		}
	})
}

// PurgeWait is Purge that waits.
func (s *Store) PurgeWait(ctx context.Context, stream, subject string, below uint64) error {
	done := make(chan error, 1)
	s.Purge(stream, subject, below, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
