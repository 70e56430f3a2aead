package rest

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/anybridge/anybridge/core"
)

// endpointSpec is one endpoint as a client described it: a URL, or an object with
// the URL and its options. Fields that were not given are zero.
type endpointSpec struct {
	url         string
	match       core.Match
	invoke      string
	timeout     time.Duration
	ordered     bool
	concurrency int
	rate        float64
	retry       []time.Duration
	excludeMe   bool
	secrets     []core.Secret
}

// bindingSpec is one entry of "endpoints".
type bindingSpec struct {
	name string // as the client wrote it
	endpointSpec
	anyMatch bool // named in a list: whatever its match policy
}

// bindingsRequest is the body of POST /register/, /subscribe/ and their opposites.
type bindingsRequest struct {
	token     string
	endpoints []bindingSpec
}

// The fields that an endpoint may have, by what it is for.

func registerFields() []string {
	return []string{"url", "match", "invoke", "timeout", "secret"}
}

func subscribeFields() []string {
	return []string{"url", "match", "ordered", "concurrency", "rate", "timeout", "retry", "exclude_me", "secret"}
}

func callbackFields() []string { return []string{"url", "timeout", "retry", "secret"} }

// Bounds of what a client can ask for.
const (
	maxEndpointTimeout = 10 * time.Minute
	maxConcurrency     = 1024
	maxRetries         = 100
	maxRetryDelay      = 30 * 24 * time.Hour
)

// decodeBindings reads {"token", "endpoints": {name: endpoint}}.
func decodeBindings(body []byte, lim Limits, fields []string) (bindingsRequest, error) {
	return decodeEndpoints(body, lim, func(s *scanner) ([]bindingSpec, error) { return s.bindings(lim, fields) })
}

// decodeNames reads {"token", "endpoints": [name, …]}, or the map that was
// registered, of which only the names and match policies count.
func decodeNames(body []byte, lim Limits, fields []string) (bindingsRequest, error) {
	return decodeEndpoints(body, lim, func(s *scanner) ([]bindingSpec, error) {
		switch s.space() {
		case '{':
			return s.bindings(lim, fields)
		case '[':
			return s.names(lim)
		}
		return nil, s.unexpected("a list of names, or the object that was registered")
	})
}

func decodeEndpoints(body []byte, lim Limits, endpoints func(*scanner) ([]bindingSpec, error)) (r bindingsRequest, err error) {
	s := newScanner(body, lim.MaxDepth)
	if s.blank() {
		return r, core.Errorf(core.InvalidArgument, `the body is empty: want {"endpoints": …}`)
	}
	var unknown unknownFields
	given := false
	err = s.object(func(key []byte) (err error) {
		switch string(key) {
		case "token":
			r.token, err = s.text()
			return at("token", err)
		case "endpoints":
			given = true
			r.endpoints, err = endpoints(&s)
			return at("endpoints", err)
		}
		return unknown.add(&s, key)
	})
	if err == nil {
		err = s.end()
	}
	if err == nil {
		err = unknown.err("token", "endpoints")
	}
	if err == nil && !given {
		err = wrong(`the field "endpoints" is missing`)
	}
	return r, invalid(err)
}

func (s *scanner) bindings(lim Limits, fields []string) (specs []bindingSpec, err error) {
	err = s.object(func(key []byte) error {
		name := string(key)
		if len(specs) >= lim.MaxEndpoints {
			return tooManyEndpoints(lim)
		}
		e, err := s.endpoint(fields)
		if err != nil {
			return at("["+quote(name)+"]", err)
		}
		specs = append(specs, bindingSpec{name: name, endpointSpec: *e})
		return nil
	})
	return specs, err
}

func (s *scanner) names(lim Limits) (specs []bindingSpec, err error) {
	err = s.list(func(int) error {
		if len(specs) >= lim.MaxEndpoints {
			return tooManyEndpoints(lim)
		}
		name, err := s.text()
		if err == nil && slices.ContainsFunc(specs, func(b bindingSpec) bool { return b.name == name }) {
			err = wrong("the name " + quote(name) + " comes twice")
		}
		specs = append(specs, bindingSpec{name: name, anyMatch: true})
		return err
	})
	return specs, err
}

func tooManyEndpoints(lim Limits) error {
	return wrong("more than " + strconv.Itoa(lim.MaxEndpoints) + " endpoints in one request")
}

// endpoint reads a URL, or an object with these fields.
func (s *scanner) endpoint(fields []string) (*endpointSpec, error) {
	e := &endpointSpec{match: core.Exact}
	switch s.space() {
	case '"':
		url, err := s.text()
		e.url = url
		return e, err
	case '{':
	default:
		return nil, s.unexpected(`a URL, or an object with "url"`)
	}
	var unknown unknownFields
	err := s.object(func(key []byte) error {
		if !slices.Contains(fields, string(key)) {
			return unknown.add(s, key)
		}
		if null, err := s.null(); null {
			return err
		}
		return at(string(key), s.endpointField(e, string(key)))
	})
	switch {
	case err != nil:
		return nil, err
	case len(unknown) > 0:
		return nil, unknown.err(fields...)
	case e.url == "":
		return nil, wrong(`the field "url" is missing`)
	case e.ordered && e.concurrency > 1:
		return nil, wrong(`"ordered" is one at a time: leave "concurrency" out`)
	}
	return e, nil
}

func (s *scanner) endpointField(e *endpointSpec, field string) (err error) {
	switch field {
	case "url":
		e.url, err = s.text()
	case "match":
		e.match, err = s.match()
	case "invoke":
		e.invoke, err = s.invoke()
	case "timeout":
		if e.timeout, err = s.duration(); err == nil && (e.timeout <= 0 || e.timeout > maxEndpointTimeout) {
			err = wrong("want more than 0 and at most " + maxEndpointTimeout.String())
		}
	case "ordered":
		e.ordered, err = s.boolean()
	case "concurrency":
		var n uint64
		if n, err = s.id(); err == nil && (n < 1 || n > maxConcurrency) {
			err = wrong("want 1 to " + strconv.Itoa(maxConcurrency))
		}
		e.concurrency = int(min(n, maxConcurrency))
	case "rate":
		if e.rate, err = s.number(); err == nil && (e.rate <= 0 || math.IsInf(e.rate, 0)) {
			err = wrong("want attempts per second, more than 0")
		}
	case "retry":
		e.retry, err = s.retry()
	case "exclude_me":
		e.excludeMe, err = s.boolean()
	case "secret":
		e.secrets, err = s.secrets()
	}
	return err
}

func (s *scanner) match() (core.Match, error) {
	text, err := s.text()
	if err != nil {
		return "", err
	}
	m, err := core.ParseMatch(text)
	if err != nil || text == "" {
		return "", wrong("want exact, prefix or wildcard")
	}
	return m, nil
}

func (s *scanner) invoke() (string, error) {
	text, err := s.text()
	if err != nil {
		return "", err
	}
	switch text {
	case "single", "first", "last", "roundrobin", "random":
		return text, nil
	}
	return "", wrong("want single, first, last, roundrobin or random")
}

// retry reads a list of delays; an empty one is not nil: there is one attempt.
func (s *scanner) retry() ([]time.Duration, error) {
	out := []time.Duration{}
	err := s.list(func(i int) error {
		d, err := s.duration()
		switch {
		case err != nil:
			return err
		case d < 0 || d > maxRetryDelay:
			return wrong("want 0 to " + maxRetryDelay.String())
		case i >= maxRetries:
			return wrong("more than " + strconv.Itoa(maxRetries) + " delays")
		}
		out = append(out, d)
		return nil
	})
	return out, err
}

// secrets reads one signing key, or a list of the current one and the former.
func (s *scanner) secrets() ([]core.Secret, error) {
	if s.space() != '[' {
		secret, err := s.secret()
		return []core.Secret{secret}, err
	}
	var out []core.Secret
	err := s.list(func(i int) error {
		if i >= maxKeys {
			return wrong("more than " + strconv.Itoa(maxKeys) + " secrets: want the current one and the former")
		}
		secret, err := s.secret()
		out = append(out, secret)
		return err
	})
	if err == nil && len(out) == 0 {
		err = wrong("want a secret, or a list of the current one and the former")
	}
	return out, err
}

func (s *scanner) secret() (core.Secret, error) {
	text, err := s.text()
	if err != nil {
		return nil, err
	}
	secret, err := ParseSecret(text)
	if err != nil {
		return nil, wrong(core.AsError(err).Message)
	}
	return secret, nil
}
