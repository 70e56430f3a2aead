package redis

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/anybridge/anybridge/core"
)

// A procedure is a list of requests, PREFIXcall:NAME; its servers announce themselves
// in PREFIXserver:NAME, which expires; answers go to lists PREFIXreply:…, one for each
// caller.
func (r *RPCConfig) callKey(name string) string   { return r.Prefix + "call:" + name }
func (r *RPCConfig) serverKey(name string) string { return r.Prefix + "server:" + name }
func (r *RPCConfig) replyKey(name string) string  { return r.Prefix + "reply:" + name }

const (
	// requestLife and replyLife are how long lists live that nobody takes from.
	requestLife = time.Hour
	replyLife   = time.Minute
	// announceLife and announceEvery keep PREFIXserver:NAME.
	announceLife  = 3 * time.Second
	announceEvery = time.Second
	maxReplyKey   = 512
)

// message is a request or an answer.
type message struct {
	ID       string          `json:"id"`
	Args     json.RawMessage `json:"args"`
	Kwargs   json.RawMessage `json:"kwargs"`
	ReplyTo  string          `json:"reply_to"`
	Deadline int64           `json:"deadline"` // in milliseconds since 1970
	From     string          `json:"from"`     // a hint
	Error    string          `json:"error"`
}

// parseMessage reads a request or an answer; what is not one is nil. Unknown keys are
// ignored, so that the form may grow.
func parseMessage(data []byte) *message {
	text := bytes.TrimSpace(data)
	if len(text) == 0 || text[0] != '{' || !utf8.Valid(text) || tooDeep(text) {
		return nil
	}
	m := &message{}
	if json.Unmarshal(text, m) != nil {
		return nil
	}
	var ok1, ok2 bool
	if m.Args, ok1 = optional(m.Args, '['); !ok1 {
		return nil
	}
	if m.Kwargs, ok2 = optional(m.Kwargs, '{'); !ok2 {
		return nil
	}
	if len(m.ID) > maxHint {
		return nil
	}
	if len(m.From) > maxHint {
		m.From = ""
	}
	return m
}

func optional(value json.RawMessage, bracket byte) (json.RawMessage, bool) {
	if value == nil {
		return nil, true
	}
	return shaped(value, bracket)
}

func (m *message) payload() core.Payload { return core.Payload{Args: m.Args, Kwargs: m.Kwargs} }

// encode writes the message. The bytes of its payload stay as they are.
func (m *message) encode() []byte {
	b := make([]byte, 0, len(m.Args)+len(m.Kwargs)+256)
	for _, field := range [...]struct {
		key  string
		text string
		raw  json.RawMessage
	}{
		{key: "id", text: m.ID}, {key: "error", text: m.Error}, {key: "args", raw: m.Args}, {key: "kwargs", raw: m.Kwargs},
		{key: "reply_to", text: m.ReplyTo}, {key: "from", text: m.From},
	} {
		if field.text == "" && field.raw == nil {
			continue
		}
		b = append(append(append(b, ',', '"'), field.key...), '"', ':')
		if field.raw != nil {
			b = append(b, field.raw...)
		} else {
			b = core.AppendString(b, field.text)
		}
	}
	if m.Deadline != 0 {
		b = strconv.AppendInt(append(b, `,"deadline":`...), m.Deadline, 10)
	}
	if len(b) == 0 {
		return []byte("{}")
	}
	b[0] = '{'
	return append(b, '}')
}

// errorPrefix stands before codes of ours in a message's error; anything else there is
// the procedure's own.
const errorPrefix = "anybridge.error."

// setError makes an answer of an error.
func (m *message) setError(err error) {
	e := core.AsError(err)
	m.Args, m.Kwargs = e.Args, e.Kwargs
	if e.Code == core.Application && e.URI != "" {
		m.Error = e.URI
	} else {
		m.Error = errorPrefix + string(e.Code)
	}
	if m.Args == nil && e.Message != "" {
		m.Args = core.TextPayload(e.Message).Args
	}
}

// err is the error in an answer.
func (m *message) err() error {
	e := &core.Error{Code: core.Application, URI: m.Error, Payload: m.payload()}
	if code, ok := strings.CutPrefix(m.Error, errorPrefix); ok {
		switch c := core.Code(code); c {
		case core.InvalidArgument, core.NoSuchProcedure, core.Forbidden, core.NotFound, core.AlreadyExists, core.TooLarge,
			core.TooMany, core.Unavailable, core.Timeout, core.Canceled, core.CallbackFailed, core.Unimplemented:
			e.Code = c
		}
	}
	if len(e.URI) > maxHint || !utf8.ValidString(e.URI) {
		e.URI = "error"
	}
	var args []string
	if json.Unmarshal(m.Args, &args) == nil && len(args) > 0 {
		e.Message = args[0]
	}
	return e
}
