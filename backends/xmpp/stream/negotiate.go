package stream

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"mellium.im/xmpp/jid"
)

// link is one connection with a session on it.
type link struct {
	conn    net.Conn
	r       *reader
	jid     jid.JID
	managed bool       // stream management is on
	resumed bool       // the earlier session goes on …
	h       uint32     // … of which the server has got so many stanzas
	maxSend int        // what the server says, or 0
	early   []*Element // what came in during the negotiation
	session smSession
}

// smSession is what it takes to resume a session.
type smSession struct {
	id  string
	max time.Duration // how long the server keeps it; 0 = it does not say
}

// negotiateLimit bounds each piece before the session is there.
const negotiateLimit = 64 << 10

// connect makes a connection and brings it to where stanzas flow: on the session
// resume, if the server still has it, else on a new one.
func (c *Client) connect(ctx context.Context, resume string, h uint32) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	n := &negotiation{c: c, conn: conn}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	l, err := n.run(ctx, resume, h)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = n.conn.Close()
		_ = conn.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("the server did not finish the negotiation: %w", err)
		}
		return nil, err
	}
	return l, nil
}

type negotiation struct {
	c    *Client
	conn net.Conn
	r    *reader
}

func (n *negotiation) run(ctx context.Context, resume string, h uint32) (*link, error) {
	n.r = n.c.newReader(n.conn)
	features, err := n.open()
	if err != nil {
		return nil, err
	}
	if n.c.o.Mode == StartTLS {
		if features, err = n.startTLS(ctx, features); err != nil {
			return nil, err
		}
	}
	if err := n.authenticate(features); err != nil {
		return nil, err
	}
	n.r.restart()
	if features, err = n.open(); err != nil {
		return nil, err
	}
	l := &link{}
	if limits := features.Child(nsLimits, "limits"); limits != nil {
		l.maxSend, _ = strconv.Atoi(limits.ChildText("", "max-bytes"))
	}
	managed := features.Child(nsSM, "sm") != nil
	if managed && resume != "" {
		if err := n.resume(l, resume, h); err != nil {
			return nil, err
		}
	}
	if !l.resumed {
		if err := n.bind(l, features); err != nil {
			return nil, err
		}
		if managed {
			if err := n.manage(l); err != nil {
				return nil, err
			}
		}
	}
	// The reader may hold what has come in already; only its limit changes.
	n.r.limit = n.c.o.MaxReceive
	l.conn, l.r = n.conn, n.r
	return l, nil
}

func (n *negotiation) write(e *Element) error { return n.writeBytes(e.Append(nil, nsClient)) }

func (n *negotiation) writeBytes(b []byte) error {
	if err := n.conn.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return err
	}
	_, err := n.conn.Write(b)
	return err
}

// open opens the stream and reads the features that the server offers.
func (n *negotiation) open() (*Element, error) {
	to := appendEscaped(nil, n.c.o.JID.Domainpart())
	header := fmt.Appendf(nil, `<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='%s' xmlns:stream='%s'>`, to, nsClient, nsStream)
	if err := n.writeBytes(header); err != nil {
		return nil, err
	}
	if err := n.r.header(); err != nil {
		return nil, err
	}
	features, err := n.read()
	if err == nil && !features.Is(nsStream, "features") {
		err = errors.New("the server does not say what it can do")
	}
	return features, err
}

// read reads the next piece; a stream error is an error.
func (n *negotiation) read() (*Element, error) {
	e, err := n.r.next()
	if err == nil && e.Is(nsStream, "error") {
		err = streamError(e)
	}
	return e, err
}

func (n *negotiation) startTLS(ctx context.Context, features *Element) (*Element, error) {
	if features.Child(nsTLS, "starttls") == nil {
		return nil, &refusal{reason: errors.New("the server does not offer STARTTLS")}
	}
	if err := n.write(E(nsTLS, "starttls")); err != nil {
		return nil, err
	}
	e, err := n.read()
	if err != nil {
		return nil, err
	}
	if !e.Is(nsTLS, "proceed") {
		return nil, errors.New("the server refuses STARTTLS")
	}
	secured, err := n.c.secure(ctx, n.conn)
	if err != nil {
		return nil, err
	}
	n.conn = secured
	n.r = n.c.newReader(secured) // what came in unsecured is forgotten
	return n.open()
}

func (n *negotiation) authenticate(features *Element) error {
	a, err := n.mechanism(features)
	if err != nil {
		return err
	}
	if err := n.write(T(nsSASL, "auth", encode(a.start())).Set("mechanism", a.name)); err != nil {
		return err
	}
	verified := false
	const steps = 4
	for range steps {
		e, err := n.read()
		if err != nil {
			return err
		}
		data, err := base64.StdEncoding.DecodeString(e.Text)
		if err != nil && e.Text != "=" {
			return &refusal{reason: errors.New("the server's SASL data is not base64")}
		}
		switch {
		case e.Is(nsSASL, "failure"):
			return saslFailure(e)
		case e.Is(nsSASL, "challenge") && !verified:
			answer, done, err := a.next(data)
			if err != nil {
				return &refusal{reason: err}
			}
			verified = done
			if err := n.write(T(nsSASL, "response", encode(answer))); err != nil {
				return err
			}
		case e.Is(nsSASL, "success"):
			if !verified {
				if err := a.finish(data); err != nil {
					return &refusal{reason: err}
				}
			}
			return nil
		default:
			return errors.New("the server does not follow SASL")
		}
	}
	return errors.New("the server does not come to an end with SASL")
}

func encode(data []byte) string {
	if len(data) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(data)
}

// saslFailure turns the server's refusal into an error. Trying again soon would only
// look like guessing.
func saslFailure(e *Element) error {
	condition := "no reason"
	for _, c := range e.Children {
		if c.Name.Local != "text" {
			condition = c.Name.Local
			break
		}
	}
	reason := fmt.Errorf("the server refuses the login (%.100s)", condition)
	if condition == "not-authorized" {
		reason = errors.New("the server refuses the login: wrong account or password (not-authorized)")
	}
	return &refusal{reason: reason, slow: condition != "temporary-auth-failure"}
}

func (n *negotiation) resume(l *link, id string, h uint32) error {
	if err := n.write(E(nsSM, "resume").Set("h", uitoa(h)).Set("previd", id)); err != nil {
		return err
	}
	e, err := n.read()
	if err != nil {
		return err
	}
	if e.Is(nsSM, "resumed") && e.Attr("previd") == id {
		got, err := strconv.ParseUint(e.Attr("h"), 10, 32)
		if err != nil {
			return errors.New("the server resumed the session without saying where")
		}
		l.resumed, l.managed, l.h, l.session.id = true, true, uint32(got), id
		return nil
	}
	if !e.Is(nsSM, "failed") {
		return errors.New("the server neither resumes the session nor says that it cannot")
	}
	return nil
}

func (n *negotiation) bind(l *link, features *Element) error {
	resource := n.c.o.JID.Resourcepart()
	var answer *Element
	for {
		bind := E(nsBind, "bind")
		if resource != "" {
			bind.Add(T("", "resource", resource))
		}
		var err error
		if answer, err = n.ask(l, "bind", bind); err != nil {
			return err
		}
		if answer.Attr("type") == "result" {
			break
		}
		if resource == "" {
			return errors.New("the server gives us no resource")
		}
		resource = "" // taken, or not to its taste
	}
	j, err := jid.Parse(answer.Child(nsBind, "bind").ChildText("", "jid"))
	if err != nil || j.Resourcepart() == "" {
		return errors.New("the server gives us an invalid address")
	}
	l.jid = j
	if s := features.Child(nsSession, "session"); s != nil && s.Child("", "optional") == nil {
		if _, err := n.ask(l, "session", E(nsSession, "session")); err != nil {
			return err
		}
	}
	return nil
}

// ask makes a request and returns the answer.
func (n *negotiation) ask(l *link, id string, payload *Element) (*Element, error) {
	if err := n.write(E(nsClient, "iq", payload).Set("type", "set").Set("id", id)); err != nil {
		return nil, err
	}
	return n.wait(l, func(e *Element) bool { return e.Is(nsClient, "iq") && e.Attr("id") == id })
}

// manage switches stream management on (XEP-0198).
func (n *negotiation) manage(l *link) error {
	if err := n.write(E(nsSM, "enable").Set("resume", "true")); err != nil {
		return err
	}
	e, err := n.wait(l, func(e *Element) bool { return e.Name.Space == nsSM })
	if err != nil || !e.Is(nsSM, "enabled") {
		return err
	}
	l.managed = true
	if v := e.Attr("resume"); v == "true" || v == "1" {
		l.session.id = e.Attr("id")
		seconds, _ := strconv.ParseUint(e.Attr("max"), 10, 31)
		l.session.max = time.Duration(seconds) * time.Second
	}
	return nil
}

// wait reads until the answer comes; a few stanzas may come before it.
func (n *negotiation) wait(l *link, wanted func(*Element) bool) (*Element, error) {
	const most = 64
	for {
		e, err := n.read()
		if err != nil {
			return nil, err
		}
		if wanted(e) {
			return e, nil
		}
		if len(l.early) >= most {
			return nil, errors.New("the server does not answer during the negotiation")
		}
		if !slices.Contains([]string{"iq", "message", "presence"}, e.Name.Local) {
			continue
		}
		l.early = append(l.early, e)
	}
}

// streamError is what the server says before it closes the stream.
func streamError(e *Element) error {
	condition := "undefined-condition"
	for _, c := range e.Children {
		if c.Name.Space == nsStreams && c.Name.Local != "text" {
			condition = c.Name.Local
			break
		}
	}
	reason := fmt.Errorf("the server ends the stream (%.100s)", condition)
	if text := e.ChildText(nsStreams, "text"); text != "" {
		reason = fmt.Errorf("the server ends the stream (%.100s): %.200s", condition, Clean(text))
	}
	switch condition {
	case "conflict":
		return &refusal{reason: errors.New("another connection has taken our resource (conflict): give each its own"), slow: true}
	case "host-unknown", "not-authorized", "policy-violation":
		return &refusal{reason: reason}
	}
	return reason
}

func uitoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
