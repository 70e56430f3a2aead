package xmpp

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/core"
)

// The fields of the form that our commands show to people.
const (
	fieldArgs   = "args"   // one argument on each line, as text
	fieldKwargs = "kwargs" // a JSON object
	fieldResult = "result"
)

// field is one field of a data form (XEP-0004).
func field(name, kind, label string, values ...string) *stream.Element {
	f := stream.E("", "field").Set("var", name).Set("type", kind).Set("label", label)
	for _, v := range values {
		f.Add(stream.T("", "value", v))
	}
	return f
}

// argumentForm asks people for the arguments of a procedure.
func argumentForm(procedure string) *stream.Element {
	return stream.E(nsForm, "x",
		stream.T("", "title", procedure),
		stream.T("", "instructions", "What is the procedure called with?"),
		field(fieldArgs, "text-multi", "Arguments, one on each line"),
		field(fieldKwargs, "text-multi", "Named arguments, as a JSON object"),
	).Set("type", "form")
}

// values are the values of a field.
func values(f *stream.Element) []string {
	var all []string
	for _, c := range f.Children {
		if c.Is(nsForm, "value") {
			all = append(all, c.Text)
		}
	}
	return all
}

// formPayload reads the arguments out of a form that was filled in. Fields other than
// those we ask for are named arguments.
func formPayload(form *stream.Element) (core.Payload, error) {
	var args []string
	kwargs := map[string]any{}
	for _, f := range form.Children {
		name := f.Attr("var")
		if !f.Is(nsForm, "field") || name == "" || name == "FORM_TYPE" {
			continue
		}
		vs := values(f)
		switch name {
		case fieldArgs:
			args = append(args, strings.Split(strings.Join(vs, "\n"), "\n")...)
		case fieldKwargs:
			text := strings.TrimSpace(strings.Join(vs, "\n"))
			if text == "" {
				continue
			}
			var object map[string]json.RawMessage
			if err := json.Unmarshal([]byte(text), &object); err != nil || object == nil {
				return core.Payload{}, core.Errorf(core.InvalidArgument, "the field %s must hold a JSON object", fieldKwargs)
			}
			for k, v := range object {
				kwargs[k] = v
			}
		default:
			kwargs[name] = fieldValue(f, vs)
		}
	}
	if len(args) == 1 && args[0] == "" {
		args = nil // a field left empty
	}
	return payloadOf(args, kwargs)
}

// resultPayload reads what a command of somebody else's returned: the fields of the form
// as named values, each row of a table as one of the list "items".
func resultPayload(form *stream.Element) (core.Payload, error) {
	kwargs := fields(form)
	var items []map[string]any
	for _, c := range form.Children {
		if c.Is(nsForm, "item") {
			items = append(items, fields(c))
		}
	}
	if items != nil {
		kwargs["items"] = items
	}
	return payloadOf(nil, kwargs)
}

func fields(e *stream.Element) map[string]any {
	all := map[string]any{}
	for _, f := range e.Children {
		if name := f.Attr("var"); f.Is(nsForm, "field") && name != "" && name != "FORM_TYPE" {
			all[name] = fieldValue(f, values(f))
		}
	}
	return all
}

// fieldValue is a field's value in JSON's terms.
func fieldValue(f *stream.Element, vs []string) any {
	switch kind := f.Attr("type"); {
	case kind == "boolean" && len(vs) == 1:
		return vs[0] == "1" || vs[0] == "true"
	case kind == "text-multi":
		return strings.Join(vs, "\n")
	case kind == "list-multi" || kind == "jid-multi" || len(vs) > 1:
		return vs
	case len(vs) == 1:
		return vs[0]
	}
	return ""
}

func payloadOf(args []string, kwargs map[string]any) (p core.Payload, err error) {
	if len(args) > 0 {
		if p.Args, err = json.Marshal(args); err != nil {
			return p, err
		}
	}
	if len(kwargs) > 0 {
		p.Kwargs, err = json.Marshal(kwargs)
	}
	return p, err
}

// fillForm answers the form of somebody else's command: named arguments go into the
// fields of that name, the others into the remaining ones in their order.
func fillForm(form *stream.Element, p core.Payload) (*stream.Element, error) {
	var args []json.RawMessage
	var kwargs map[string]json.RawMessage
	_ = json.Unmarshal(p.Args, &args) // both are valid, or absent
	_ = json.Unmarshal(p.Kwargs, &kwargs)
	answer := stream.E(nsForm, "x").Set("type", "submit")
	var names []string
	for _, f := range form.Children {
		name, kind := f.Attr("var"), f.Attr("type")
		if !f.Is(nsForm, "field") || name == "" || kind == "fixed" {
			continue
		}
		names = append(names, name)
		vs := values(f)
		if v, ok := kwargs[name]; ok {
			vs = formValues(v)
			delete(kwargs, name)
		} else if kind != "hidden" && len(args) > 0 {
			vs = formValues(args[0])
			args = args[1:]
		}
		answer.Add(field(name, "", "", vs...))
	}
	if len(args) > 0 || len(kwargs) > 0 {
		slices.Sort(names)
		return nil, core.Errorf(core.InvalidArgument, "the command's form has the fields %s: there are more arguments than that, or others",
			shorten(strings.Join(names, ", "), 500))
	}
	return answer, nil
}

// formValues is a JSON value as a field's values.
func formValues(v json.RawMessage) []string {
	var list []json.RawMessage
	if len(v) > 0 && v[0] == '[' && json.Unmarshal(v, &list) == nil {
		all := make([]string, len(list))
		for i, item := range list {
			all[i] = core.Payload{Args: append(append([]byte{'['}, item...), ']')}.Text()
		}
		return all
	}
	return []string{core.Payload{Args: append(append([]byte{'['}, v...), ']')}.Text()}
}
