package stream

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"

	"golang.org/x/text/secure/precis"
)

// login is one way to authenticate.
type login struct {
	name   string
	start  func() []byte
	next   func(challenge []byte) (answer []byte, verified bool, err error)
	finish func(data []byte) error // checks what comes with success
}

// mechanism chooses the strongest mechanism that both sides have. Channel binding is
// used where the server says that it knows the kind we have (XEP-0440).
func (n *negotiation) mechanism(features *Element) (*login, error) {
	var offered []string
	if m := features.Child(nsSASL, "mechanisms"); m != nil {
		for _, e := range m.Children {
			if e.Is(nsSASL, "mechanism") {
				offered = append(offered, strings.TrimSpace(e.Text))
			}
		}
	}
	user, password := n.c.o.JID.Localpart(), string(n.c.o.Password)
	if prepared, err := precis.OpaqueString.String(password); err == nil {
		password = prepared
	}
	secured, secure := n.conn.(*tls.Conn)
	flag, data := "n", []byte(nil)
	plus := slices.ContainsFunc(offered, func(m string) bool { return strings.HasSuffix(m, "-PLUS") })
	if secure {
		if !plus {
			flag = "y" // we could: whoever took the offer out is found out
		} else if bindingOffered(features, "tls-exporter") {
			state := secured.ConnectionState()
			if key, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil {
				flag, data = "p=tls-exporter", key
			}
		}
	}
	for _, name := range []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1"} {
		if !slices.Contains(offered, name) || strings.HasSuffix(name, "-PLUS") != (data != nil) {
			continue
		}
		s := &scram{hash: scramHash(name), user: user, password: password, binding: flag, data: data}
		return s.login(name), nil
	}
	if slices.Contains(offered, "PLAIN") && secure {
		first := func() []byte { return []byte("\x00" + user + "\x00" + password) }
		return &login{
			name: "PLAIN", start: first,
			next:   func([]byte) ([]byte, bool, error) { return nil, true, nil },
			finish: func([]byte) error { return nil },
		}, nil
	}
	return nil, &refusal{reason: errors.New("the server offers no way to log in that we have (SCRAM-SHA-256, SCRAM-SHA-1; PLAIN only with TLS)")}
}

func bindingOffered(features *Element, kind string) bool {
	if list := features.Child(nsSASLCB, "sasl-channel-binding"); list != nil {
		for _, e := range list.Children {
			if e.Attr("type") == kind {
				return true
			}
		}
	}
	return false
}

func (s *scram) login(name string) *login {
	answered := false
	return &login{
		name: name, start: s.start,
		next: func(challenge []byte) ([]byte, bool, error) {
			if !answered {
				answered = true
				answer, err := s.answer(challenge)
				return answer, false, err
			}
			return nil, true, s.verify(challenge) // the proof may come before success
		},
		finish: s.verify,
	}
}
