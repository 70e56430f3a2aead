package record

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Item is one delivery on its own: waiting, retried, or dead.
type Item struct {
	ID      string    // of the delivery
	Owner   string    // the token it belongs to
	To      string    // the subscription's ID; for a result, the ID of its endpoint
	Created time.Time // when it became owed

	Attempts int   // that counted, so far
	Tries    []Try // the first of them and the last ones, the oldest first

	Event *core.Event // one of these two
	Call  *Call

	Reason string    // why it is dead
	Died   time.Time // when it died
}

// Try is one attempt that failed.
type Try struct {
	At      time.Time
	Status  int // of HTTP, or 0
	Latency time.Duration
	Error   string
	Answer  string // the first bytes of the response's body
}

// Call is an asynchronous call: under way, or with its outcome.
type Call struct {
	Procedure core.Address
	Endpoint  core.Endpoint // where the outcome goes
	Done      bool
	Result    core.Payload
	Details   []byte
	Err       *core.Error // instead of Result
}

// MaxTries bounds the attempts of which a delivery remembers what came.
const MaxTries = 16

// Tried notes one more attempt.
func (i *Item) Tried(t Try) {
	i.Attempts++
	if len(i.Tries) < MaxTries {
		i.Tries = append(i.Tries, t)
		return
	}
	copy(i.Tries[1:], i.Tries[2:])
	i.Tries[MaxTries-1] = t
}

const (
	itemForm  = 'I'
	itemsForm = 'J'
)

// AppendItem appends an item's own record.
func AppendItem(b []byte, i *Item) []byte { return appendItem(append(b, itemForm), i) }

// AppendItems appends an item to a record of many, which begins empty.
func AppendItems(b []byte, i *Item) []byte {
	if len(b) == 0 {
		b = append(b, itemsForm)
	}
	return appendItem(b, i)
}

// OneItem reads what AppendItem wrote. The item shares its memory.
func OneItem(b []byte) (*Item, error) {
	r := reader{b: b}
	if r.byte() != itemForm {
		return nil, fmt.Errorf("read item: %w", ErrMalformed)
	}
	i := r.item()
	return i, r.done("item")
}

// Items reads what AppendItems wrote. The items share its memory. With an error it
// returns those that are whole.
func Items(b []byte) ([]*Item, error) {
	r := reader{b: b}
	if r.byte() != itemsForm {
		return nil, fmt.Errorf("read items: %w", ErrMalformed)
	}
	var items []*Item
	for len(r.b) > 0 {
		if i := r.item(); r.err == nil {
			items = append(items, i)
		}
	}
	return items, r.done("items")
}

// What an item carries.
const (
	kindEvent = 'e'
	kindCall  = 'c'
)

func appendItem(b []byte, i *Item) []byte {
	b = appendText(b, i.ID)
	b = appendText(b, i.Owner)
	b = appendText(b, i.To)
	b = appendTime(b, i.Created)
	b = binary.AppendUvarint(b, uint64(i.Attempts))
	b = appendTries(b, i.Tries)
	b = appendText(b, i.Reason)
	b = appendTime(b, i.Died)
	if i.Call != nil {
		return appendCall(append(b, kindCall), i.Call)
	}
	return appendEvent(append(b, kindEvent), i.Event)
}

func (r *reader) item() *Item {
	i := &Item{ID: r.text(), Owner: r.text(), To: r.text(), Created: r.time(), Attempts: int(r.uint()), Tries: r.tries(), Reason: r.text(), Died: r.time()}
	switch r.byte() {
	case kindEvent:
		i.Event = r.event()
	case kindCall:
		i.Call = r.call()
	default:
		r.fail()
	}
	return i
}

func appendTries(b []byte, tries []Try) []byte {
	b = binary.AppendUvarint(b, uint64(len(tries)))
	for _, t := range tries {
		b = appendTime(b, t.At)
		b = binary.AppendVarint(b, int64(t.Status))
		b = binary.AppendVarint(b, int64(t.Latency))
		b = appendText(b, t.Error)
		b = appendText(b, t.Answer)
	}
	return b
}

func (r *reader) tries() []Try {
	n := r.count()
	if n == 0 {
		return nil
	}
	tries := make([]Try, 0, min(n, MaxTries))
	for range n {
		tries = append(tries, Try{At: r.time(), Status: int(r.int()), Latency: time.Duration(r.int()), Error: r.text(), Answer: r.text()})
	}
	return tries
}

func appendCall(b []byte, c *Call) []byte {
	b = appendText(b, c.Procedure.Backend)
	b = appendText(b, c.Procedure.Name)
	b = appendEndpoint(b, &c.Endpoint)
	switch {
	case !c.Done:
		return append(b, 0)
	case c.Err == nil:
		b = append(b, 1)
		b = appendText(b, c.Result.Args)
		b = appendText(b, c.Result.Kwargs)
		return appendText(b, c.Details)
	}
	b = append(b, 2)
	b = appendText(b, string(c.Err.Code))
	b = appendText(b, c.Err.Message)
	b = appendText(b, c.Err.URI)
	b = appendText(b, c.Err.Args)
	return appendText(b, c.Err.Kwargs)
}

func (r *reader) call() *Call {
	c := &Call{Procedure: core.Address{Backend: r.text(), Name: r.text()}, Endpoint: r.endpoint()}
	switch r.byte() {
	case 0:
	case 1:
		c.Done = true
		c.Result = core.Payload{Args: r.bytes(), Kwargs: r.bytes()}
		c.Details = r.bytes()
	case 2:
		c.Done = true
		c.Err = &core.Error{
			Code: core.Code(r.text()), Message: r.text(), URI: r.text(),
			Payload: core.Payload{Args: r.bytes(), Kwargs: r.bytes()},
		}
	default:
		r.fail()
	}
	return c
}
