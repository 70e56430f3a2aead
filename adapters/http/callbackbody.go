package rest

import (
	"strconv"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// bodyOverhead is room for what a body holds beside its payload.
const bodyOverhead = 256

// eventBody is {"type":"event","id","topic","args","kwargs","time","details"}.
func (c *Callbacks) eventBody(e *core.Event) []byte {
	b := make([]byte, 0, bodyOverhead+e.Size()+len(e.Details)+len(e.Topic.Name))
	b = append(b, `{"type":"event","id":`...)
	b = core.AppendString(b, e.ID)
	b = append(b, `,"topic":`...)
	b = core.AppendString(b, e.Topic.Text(c.o.DefaultBackend))
	b = append(b, ',')
	b = appendPayload(b, e.Args, e.Kwargs)
	b = append(b, `,"time":`...)
	if e.Time.IsZero() {
		b = append(b, "null"...)
	} else {
		b = append(b, '"')
		b = e.Time.UTC().AppendFormat(b, time.RFC3339Nano)
		b = append(b, '"')
	}
	b = append(b, `,"details":`...)
	b = appendObject(b, e.Details)
	return append(b, '}')
}

// invocationBody is {"type":"invocation","id","procedure","args","kwargs","details"}.
func (c *Callbacks) invocationBody(inv *core.Invocation) []byte {
	b := make([]byte, 0, bodyOverhead+inv.Size()+len(inv.Details)+len(inv.Procedure.Name))
	b = append(b, `{"type":"invocation","id":`...)
	b = core.AppendString(b, inv.ID)
	b = append(b, `,"procedure":`...)
	b = core.AppendString(b, inv.Procedure.Text(c.o.DefaultBackend))
	b = append(b, ',')
	b = appendPayload(b, inv.Args, inv.Kwargs)
	b = append(b, `,"details":`...)
	b = appendObject(b, inv.Details)
	return append(b, '}')
}

// resultBody is {"type":"result","id","procedure","args","kwargs"}, or
// {"type":"error","id","procedure","status","error","detail","args","kwargs"} with
// the status that a call without a callback would have got.
func (c *Callbacks) resultBody(r *engine.AsyncResult) []byte {
	var payload core.Payload
	kind := `{"type":"result","id":`
	switch {
	case r.Err != nil:
		kind, payload = `{"type":"error","id":`, r.Err.Payload
	case r.Result != nil:
		payload = r.Result.Payload
	}
	b := make([]byte, 0, bodyOverhead+payload.Size()+len(r.Procedure.Name))
	b = append(b, kind...)
	b = core.AppendString(b, r.CallID)
	b = append(b, `,"procedure":`...)
	b = core.AppendString(b, r.Procedure.Text(c.o.DefaultBackend))
	if r.Err != nil {
		status, title := statusOf(r.Err.Code)
		detail := r.Err.Message
		if r.Err.Code == core.Internal {
			detail = title
		}
		b = append(b, `,"status":`...)
		b = strconv.AppendInt(b, int64(status), 10)
		b = append(b, `,"error":`...)
		b = core.AppendString(b, errorURI(r.Err))
		b = append(b, `,"detail":`...)
		b = core.AppendString(b, detail)
	}
	b = append(b, ',')
	b = appendPayload(b, payload.Args, payload.Kwargs)
	return append(b, '}')
}
