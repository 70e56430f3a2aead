package routes

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
)

// maxNodes bounds an expression's size. What it may allocate when it runs, expr bounds
// itself (vm.MemoryBudget).
const maxNodes = 1000

// compile type-checks an expression for what a route knows of an event.
func compile(source string, as ...expr.Option) (*vm.Program, error) {
	options := append([]expr.Option{expr.Env(env{}), expr.MaxNodes(maxNodes)}, as...)
	return expr.Compile(source, options...)
}

func compileCondition(source string) (*vm.Program, error) { return compile(source, expr.AsBool()) }

func compileList(source string) (*vm.Program, error) {
	return compile(source, expr.AsKind(reflect.Slice))
}

func compileMap(source string) (*vm.Program, error) { return compile(source, expr.AsKind(reflect.Map)) }

// template is a text with expressions in it.
type template struct {
	parts []part
}

// part is a piece of text, or an expression.
type part struct {
	text string
	expr *vm.Program
}

const (
	opening = "{{"
	closing = "}}"
)

// escape makes a text a template that gives just that text.
func escape(text string) string {
	return strings.ReplaceAll(text, opening, opening+`"`+opening+`"`+closing)
}

// parseTemplate reads a text in which {{ EXPRESSION }} stands for what the expression
// gives.
func parseTemplate(source string) (*template, error) {
	t := &template{}
	for {
		before, after, found := strings.Cut(source, opening)
		if before != "" {
			t.parts = append(t.parts, part{text: before})
		}
		if !found {
			return t, nil
		}
		program, rest, err := parseExpression(after)
		if err != nil {
			return nil, err
		}
		t.parts = append(t.parts, part{expr: program})
		source = rest
	}
}

// parseExpression reads up to the }} that ends the expression: the first one at which
// it is whole, for a map in it ends with } as well.
func parseExpression(source string) (*vm.Program, string, error) {
	var first error
	for end := 0; ; end++ {
		i := strings.Index(source[end:], closing)
		if i < 0 {
			if first == nil {
				first = errors.New("there is no }} to this {{")
			}
			return nil, "", first
		}
		end += i
		program, err := compile(source[:end])
		if err == nil {
			return program, source[end+len(closing):], nil
		}
		if first == nil {
			first = err
		}
	}
}

// constant is the text of a template without expressions.
func (t *template) constant() (string, bool) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.expr != nil {
			return "", false
		}
		b.WriteString(p.text)
	}
	return b.String(), true
}

// run gives the text for one event.
func (t *template) run(e *env) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.expr == nil {
			b.WriteString(p.text)
			continue
		}
		value, err := expr.Run(p.expr, *e)
		if err != nil {
			return "", err
		}
		text, err := textOf(value)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// textOf is how a value reads in a text: a text as it is, nothing as nothing, anything
// else as its JSON.
func textOf(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case fmt.Stringer: // a time or a duration
		return v.String(), nil
	}
	b, err := encode(value)
	return string(b), err
}
