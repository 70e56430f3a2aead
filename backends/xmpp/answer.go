package xmpp

import (
	"encoding/json"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/core"
)

// callDetails is what an invocation tells of who calls. An occupant of a room hides an
// account.
func callDetails(from jid.JID, who core.Caller, occupant bool) json.RawMessage {
	account := from.Bare().String()
	if occupant {
		account = ""
	}
	b, err := json.Marshal(struct {
		Caller string `json:"caller"`
		AuthID string `json:"caller_authid,omitempty"`
		Token  string `json:"caller_token,omitempty"`
		User   string `json:"caller_user,omitempty"`
	}{from.String(), account, who.Token, who.User})
	if err != nil { // strings always have a JSON
		panic(err)
	}
	return b
}

// answerInvocation answers the one who executed a command.
func (r *running) answerInvocation(i *invocation, iq *stream.Element, result *core.Result, err error) {
	r.mu.Lock()
	open := r.invocations[i.key] == i
	if open {
		delete(r.invocations, i.key)
	}
	gone := i.gone
	r.mu.Unlock()
	if !open || gone && core.CodeOf(err) != core.Canceled && core.CodeOf(err) != core.Unavailable {
		return
	}
	var answer *stream.Element
	if err == nil {
		answer = resultAnswer(iq, result)
	} else {
		answer = errorAnswer(iq, core.AsError(err))
	}
	if _, err := r.client.Send(answer, false); core.CodeOf(err) == core.TooLarge {
		r.send(errorAnswer(iq, core.Errorf(core.TooLarge, "the result is too large for a stanza")))
	} else if err != nil {
		r.client.Count("stanzas_not_sent", 1)
	}
}

// resultAnswer is a result for people, as a note and a form, and exactly, as JSON.
func resultAnswer(iq *stream.Element, result *core.Result) *stream.Element {
	if result == nil {
		result = &core.Result{}
	}
	command := iq.Children[0]
	session := command.Attr("sessionid")
	if session == "" {
		session = iq.Attr("id")
	}
	text := result.Text()
	answer := commandAnswer(command.Attr("node"), session, "completed")
	answer.Add(stream.E(nsForm, "x", field(fieldResult, "text-multi", "Result", text)).Set("type", "result"))
	if text != "" {
		answer.Add(stream.T("", "note", text).Set("type", "info"))
	}
	return reply(iq, "result", answer.Add(contain(result.Payload).element()))
}

func errorAnswer(iq *stream.Element, e *core.Error) *stream.Element {
	c := contain(e.Payload)
	c.Code, c.URI = string(e.Code), e.URI
	condition, kind := codeCondition(e.Code)
	return errorStanza(iq, condition, kind, e.Error(), c.element())
}
