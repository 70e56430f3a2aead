package routes

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/anybridge/anybridge/core"
)

// Route is a Spec whose expressions are compiled. It is immutable.
type Route struct {
	Spec
	targets []*target
	when    *vm.Program
	text    *template
	args    *vm.Program
	kwargs  *vm.Program
	reads   bool // some expression may want env.Text
}

// target is one of the addresses that a route carries to.
type target struct {
	backend string
	name    *template
	text    string // as the configuration has it, with the backend in front
}

// Compile checks a spec. Its error joins *SpecError.
func Compile(s Spec, defaultBackend string) (*Route, error) {
	r := &Route{Spec: s}
	var mistakes []error
	wrong := func(key string, at int, err error) {
		mistakes = append(mistakes, &SpecError{Key: key, At: at, Err: err})
	}
	for i, to := range s.To {
		t, err := parseTarget(to, defaultBackend)
		if err != nil {
			wrong("to", i, err)
			continue
		}
		r.targets = append(r.targets, t)
	}
	var err error
	check := func(key, source string, compile func(string) (*vm.Program, error)) *vm.Program {
		if source == "" {
			return nil
		}
		program, err := compile(source)
		if err != nil {
			wrong(key, 0, err)
		}
		return program
	}
	r.when = check("when", s.When, compileCondition)
	r.args = check("args", s.Args, compileList)
	r.kwargs = check("kwargs", s.Kwargs, compileMap)
	if s.Text != "" {
		if r.text, err = parseTemplate(s.Text); err != nil {
			wrong("text", 0, err)
		}
		if s.isEvents() && (s.Args != "" || s.Kwargs != "") {
			wrong("text", 0, errors.New("is the whole payload: leave args and kwargs out"))
		}
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	for _, source := range append([]string{s.When, s.Text, s.Args, s.Kwargs}, s.To...) {
		r.reads = r.reads || strings.Contains(source, "text")
	}
	return r, nil
}

// Backends are those of the targets.
func (r *Route) Backends() []string {
	out := make([]string, len(r.targets))
	for i, t := range r.targets {
		out[i] = t.backend
	}
	return out
}

func (s *Spec) isEvents() bool { return len(s.To) > 0 }

// parseTarget reads the address of a target. Its backend is fixed; its name may have
// expressions.
func parseTarget(to, defaultBackend string) (*target, error) {
	t := &target{backend: defaultBackend}
	name := to
	if prefix, rest, ok := strings.Cut(to, ":"); ok && core.ValidBackendName(prefix) {
		t.backend, name = prefix, rest
	}
	var err error
	if t.name, err = parseTemplate(name); err != nil {
		return nil, err
	}
	t.text = t.backend + ":" + name
	if constant, ok := t.name.constant(); ok {
		return t, core.Address{Backend: t.backend, Name: constant}.Valid()
	}
	return t, nil
}

// computes reports whether expressions have to look into what comes.
func (r *Route) computes() bool {
	return r.when != nil || r.text != nil || r.args != nil || r.kwargs != nil
}

// wants reports whether the route carries an event. The env is nil if nothing has to be
// looked into.
func (r *Route) wants(e *env) (bool, error) {
	if r.when == nil {
		return true, nil
	}
	value, err := expr.Run(r.when, *e)
	if err != nil {
		return false, fmt.Errorf("when: %w", err)
	}
	wanted, ok := value.(bool)
	if !ok {
		return false, fmt.Errorf("when: want true or false, have %v", value)
	}
	return wanted, nil
}

// event makes what is published to a target.
func (r *Route) event(from *core.Event, e *env, t *target) (*core.Event, error) {
	payload, err := r.payload(from.Payload, e, r.text)
	if err != nil {
		return nil, err
	}
	name, constant := t.name.constant()
	if !constant {
		if e == nil {
			if e, err = r.eventEnv(from); err != nil {
				return nil, err
			}
		}
		if name, err = t.name.run(e); err != nil {
			return nil, fmt.Errorf("to: %w", err)
		}
	}
	to := core.Address{Backend: t.backend, Name: name}
	if err := to.Valid(); err != nil {
		return nil, fmt.Errorf("to: %w", err)
	}
	return &core.Event{Topic: to, Payload: payload, Time: from.Time, Details: r.carried(from), Via: r.Name}, nil
}

// carried is what the details of an event say that a route has carried.
func (r *Route) carried(from *core.Event) json.RawMessage {
	text, err := json.Marshal(struct {
		Via  string `json:"via"`
		From string `json:"from"`
	}{r.Name, from.Topic.String()})
	if err != nil { // strings always have a JSON
		panic(err)
	}
	return text
}

// payload makes a payload anew, or leaves it as it is.
func (r *Route) payload(p core.Payload, e *env, text *template) (core.Payload, error) {
	if text != nil {
		said, err := text.run(e)
		if err != nil {
			return core.Payload{}, fmt.Errorf("text: %w", err)
		}
		return core.TextPayload(said), nil
	}
	for _, part := range []struct {
		name string
		expr *vm.Program
		into *json.RawMessage
	}{{"args", r.args, &p.Args}, {"kwargs", r.kwargs, &p.Kwargs}} {
		if part.expr == nil {
			continue
		}
		value, err := expr.Run(part.expr, *e)
		if err == nil {
			*part.into, err = encode(value)
		}
		if err != nil {
			return core.Payload{}, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return p, nil
}

// eventEnv is what expressions know of an event.
func (r *Route) eventEnv(from *core.Event) (*env, error) {
	e, err := r.newEnv(from.Topic, from.Payload, from.Details)
	if err != nil {
		return nil, err
	}
	e.ID, e.Time = from.ID, from.Time
	return e, nil
}

// envOf is eventEnv if the route has to look into the event, else nil.
func (r *Route) envOf(from *core.Event) (*env, error) {
	if !r.computes() {
		return nil, nil //nolint:nilnil // documented
	}
	return r.eventEnv(from)
}

func (r *Route) newEnv(at core.Address, p core.Payload, details json.RawMessage) (*env, error) {
	e, err := newEnv(at, p, details)
	if err == nil && r.reads {
		e.Text = p.Text()
	}
	return e, err
}
