package config

import (
	"math/big"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// maxNodes bounds the tree, aliases counted each time they are used.
const maxNodes = 50_000

// tree builds nodes from what the YAML parser made.
type tree struct {
	src     *source
	lookup  func(string) (string, bool)
	anchors map[string]*node
	tooBig  bool
}

// build makes the node of n.
func (t *tree) build(n ast.Node, s secrecy) *node {
	line, column := place(n)
	out := &node{kind: null, line: line, column: column, size: 1}
	switch n := n.(type) {
	case nil, *ast.NullNode:
	case *ast.MappingNode:
		t.mapping(out, n.Values, s)
	case *ast.MappingValueNode:
		t.mapping(out, []*ast.MappingValueNode{n}, s)
	case *ast.SequenceNode:
		out.kind = list
		for _, v := range n.Values {
			item := t.build(v, s.item())
			out.items = append(out.items, item)
			t.grow(out, item)
		}
	case *ast.AnchorNode:
		out = t.build(n.Value, s)
		t.anchors[nameOf(n.Name)] = out
	case *ast.AliasNode:
		if value := t.anchors[nameOf(n.Value)]; value != nil {
			return value
		}
		out.bad = true
		t.src.add(line, column, "there is no anchor &%s above", nameOf(n.Value))
	case *ast.TagNode:
		t.src.add(line, column, "tags such as %s are not supported", n.GetToken().Value)
		out = t.build(n.Value, s)
	default:
		t.scalar(out, n, s)
	}
	return out
}

// grow counts a child, and gives up on trees that aliases blow up.
func (t *tree) grow(parent, child *node) {
	parent.size += child.size
	if parent.size > maxNodes && !t.tooBig {
		t.tooBig = true
		t.src.add(parent.line, parent.column, "more than %d values", maxNodes)
	}
}

func (t *tree) mapping(out *node, values []*ast.MappingValueNode, s secrecy) {
	out.kind = object
	for i, v := range values {
		line, column := place(v.Key)
		if i == 0 && out.line == 0 {
			out.line, out.column = line, column
		}
		if v.Key.IsMergeKey() {
			t.src.add(line, column, "merge keys (<<) are not supported: write the keys out")
			continue
		}
		var key string
		switch k := v.Key.(type) {
		case *ast.StringNode:
			key = k.Value
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
			key = k.GetToken().Value
		default:
			t.src.add(line, column, "a key must be plain text")
			continue
		}
		value := t.build(v.Value, s.under(key))
		if earlier := out.find(key); earlier != nil {
			t.src.add(line, column, "key %q is there twice: first in line %d", key, earlier.line)
			continue
		}
		if value.line == 0 || value.kind == null {
			value.line, value.column = line, column // an empty value has no place of its own
		}
		out.entries = append(out.entries, entry{key: key, line: line, column: column, value: value})
		t.grow(out, value)
	}
}

// jsonNumber is what YAML's core schema and JSON have in common, and a leading +.
var jsonNumber = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// scalar reads one value by YAML's core schema. Numbers keep their digits.
func (t *tree) scalar(out *node, n ast.Node, s secrecy) {
	tk := n.GetToken()
	written, plain := tk.Value, false
	switch v := n.(type) {
	case *ast.LiteralNode:
		written = v.Value.Value
		tk = v.Value.GetToken()
	case *ast.StringNode:
		written = v.Value
		plain = tk.Type != token.SingleQuoteType && tk.Type != token.DoubleQuoteType
	case *ast.BoolNode:
		out.kind, out.text = boolean, strings.ToLower(written)
		return
	case *ast.IntegerNode, *ast.FloatNode:
		plain = true
	case *ast.InfinityNode, *ast.NanNode:
		out.bad = true
		t.src.add(out.line, out.column, "%s is not a number here: for text, put it in quotes", written)
		return
	default:
		t.src.add(out.line, out.column, "this kind of YAML is not supported")
		return
	}
	if s.hides(written) {
		t.src.mask(out.line, out.column, tk.Next)
	}
	if plain && t.number(out, n, written) {
		return
	}
	out.kind = text
	var err error
	if out.text, out.variable, err = expand(written, t.lookup); err != nil {
		out.bad = true
		t.src.add(out.line, out.column, "%v", err)
	}
}

// number reads a plain scalar as a number and reports whether it is one.
func (t *tree) number(out *node, n ast.Node, written string) bool {
	if jsonNumber.MatchString(written) {
		out.kind, out.text = number, strings.TrimPrefix(written, "+")
		return true
	}
	if _, isText := n.(*ast.StringNode); isText {
		return false
	}
	out.kind = number
	if rest, ok := cutAny(written, "0x", "0o"); ok && !strings.Contains(rest, "_") {
		if i, ok := new(big.Int).SetString(written, 0); ok {
			out.text = i.String()
			return true
		}
	}
	out.text, out.bad = "0", true
	t.src.add(out.line, out.column, "%s can be read as a number in more than one way: write it in decimal or, for text, in quotes", written)
	return true
}

func cutAny(s string, prefixes ...string) (rest string, ok bool) {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(s, p); ok {
			return rest, true
		}
	}
	return s, false
}

// place is where a node begins in the text.
func place(n ast.Node) (line, column int) {
	switch v := n.(type) {
	case nil:
		return 0, 0
	case *ast.MappingNode:
		if len(v.Values) > 0 && !v.IsFlowStyle {
			return place(v.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return place(v.Key)
	}
	tk := n.GetToken()
	if tk == nil || tk.Position == nil {
		return 0, 0
	}
	return tk.Position.Line, tk.Position.Column
}

func nameOf(n ast.Node) string {
	if n == nil || n.GetToken() == nil {
		return ""
	}
	return n.GetToken().Value
}
