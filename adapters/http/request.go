package rest

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/anybridge/anybridge/core"
)

// callRequest is the body of POST /call/PROCEDURE/.
type callRequest struct {
	token string
	core.Payload
	timeout  time.Duration // 0 = the default
	user     string        // on whose behalf the app calls, or ""
	callback *endpointSpec // nil: the client waits for the result
}

// publishRequest is the body of POST /publish/TOPIC/.
type publishRequest struct {
	token string
	core.Payload
	excludeMe bool
	options   core.PublishOptions
}

// oneOf is what was given as "args" or under its other name, "params".
func oneOf(args, params json.RawMessage) (json.RawMessage, error) {
	if args != nil && params != nil {
		return nil, wrong(`"args" and "params" mean the same: give one of them`)
	}
	if args == nil {
		return params, nil
	}
	return args, nil
}

// newScanner stands at the beginning of a body. A byte order mark is passed over.
func newScanner(body []byte, maxDepth int) scanner {
	s := scanner{data: body, maxDepth: maxDepth}
	if len(body) >= 3 && string(body[:3]) == "\ufeff" {
		s.pos = 3
	}
	return s
}

// blank reports whether there is nothing but space.
func (s *scanner) blank() bool { return s.space() == 0 && s.pos >= len(s.data) }

// payloadRequest is what the bodies of a call and of a publish have in common.
type payloadRequest struct {
	token string
	core.Payload
}

// decodeCall reads the body of a call. An empty body is an empty object.
func decodeCall(body []byte, maxDepth int) (r callRequest, err error) {
	s := newScanner(body, maxDepth)
	common, err := s.payloadRequest([]string{"timeout", "callback", "user"}, func(key []byte) (err error) {
		switch string(key) {
		case "callback":
			r.callback, err = s.endpoint(callbackFields())
			return err
		case "user":
			r.user, err = s.user()
			return err
		}
		if r.timeout, err = s.duration(); err == nil && r.timeout <= 0 {
			err = wrong("want more than 0")
		}
		return err
	})
	r.token, r.Payload = common.token, common.Payload
	return r, invalid(err)
}

// maxUser is how many bytes the name of a user can have.
const maxUser = 255

// user reads the name of a user.
func (s *scanner) user() (string, error) {
	name, err := s.text()
	switch {
	case err != nil:
		return "", err
	case name == "" || len(name) > maxUser:
		return "", wrong("want 1 to 255 bytes")
	case strings.ContainsFunc(name, unicode.IsControl):
		return "", wrong("want no control characters")
	}
	return name, nil
}

// decodePublish reads the body of a publish. An empty body is an empty object.
func decodePublish(body []byte, maxDepth int) (r publishRequest, err error) {
	s := newScanner(body, maxDepth)
	common, err := s.payloadRequest([]string{"exclude_me", "options"}, func(key []byte) (err error) {
		if string(key) == "options" {
			r.options, err = s.publishOptions()
			return err
		}
		r.excludeMe, err = s.boolean()
		return err
	})
	r.token, r.Payload = common.token, common.Payload
	return r, invalid(err)
}

// payloadRequest reads a body with a token, a payload and fields of its own, which
// may be null; field reads the value of one of these.
func (s *scanner) payloadRequest(own []string, field func(key []byte) error) (r payloadRequest, err error) {
	if s.blank() {
		return r, nil
	}
	var params json.RawMessage
	var unknown unknownFields
	err = s.object(func(key []byte) (err error) {
		switch string(key) {
		case "token":
			r.token, err = s.text()
			return at("token", err)
		case "args":
			r.Args, err = s.args()
			return at("args", err)
		case "params":
			params, err = s.args()
			return at("params", err)
		case "kwargs":
			r.Kwargs, err = s.kwargs()
			return at("kwargs", err)
		}
		if slices.Contains(own, string(key)) {
			if null, err := s.null(); null {
				return err
			}
			return at(string(key), field(key))
		}
		return unknown.add(s, key)
	})
	if err == nil {
		err = s.end()
	}
	if err == nil && len(unknown) > 0 {
		err = unknown.err(append([]string{"token", "args", "params", "kwargs"}, own...)...)
	}
	if err == nil {
		r.Args, err = oneOf(r.Args, params)
	}
	return r, err
}

// publishOptions reads WAMP's publish options.
func (s *scanner) publishOptions() (o core.PublishOptions, err error) {
	var unknown unknownFields
	err = s.object(func(key []byte) (err error) {
		switch string(key) {
		case "retain":
			o.Retain, err = s.boolean()
		case "exclude":
			o.Exclude, err = s.ids()
		case "exclude_authid":
			o.ExcludeAuthID, err = s.texts()
		case "exclude_authrole":
			o.ExcludeAuthRole, err = s.texts()
		case "eligible":
			o.Eligible, err = s.ids()
		case "eligible_authid":
			o.EligibleAuthID, err = s.texts()
		case "eligible_authrole":
			o.EligibleAuthRole, err = s.texts()
		default:
			return unknown.add(s, key)
		}
		return at(string(key), err)
	})
	if err == nil {
		err = unknown.err("retain", "exclude", "exclude_authid", "exclude_authrole", "eligible", "eligible_authid", "eligible_authrole")
	}
	return o, err
}

// ids reads a list of session ids; an empty one is not nil.
func (s *scanner) ids() ([]uint64, error) {
	out := []uint64{}
	err := s.list(func(int) error {
		id, err := s.id()
		out = append(out, id)
		return err
	})
	return out, err
}

// texts reads a list of strings; an empty one is not nil.
func (s *scanner) texts() ([]string, error) {
	out := []string{}
	err := s.list(func(int) error {
		text, err := s.text()
		out = append(out, text)
		return err
	})
	return out, err
}

// decodeToken reads the body of a request that has nothing to say but who asks.
func decodeToken(body []byte, maxDepth int) (token string, err error) {
	s := newScanner(body, maxDepth)
	if s.blank() {
		return "", nil
	}
	var unknown unknownFields
	err = s.object(func(key []byte) (err error) {
		if string(key) != "token" {
			return unknown.add(&s, key)
		}
		token, err = s.text()
		return at("token", err)
	})
	if err == nil {
		err = s.end()
	}
	if err == nil {
		err = unknown.err("token")
	}
	return token, invalid(err)
}
