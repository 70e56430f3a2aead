package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// source is the text of a configuration and what has been found wrong with it.
type source struct {
	lines    []string
	data     string
	masks    []span
	broken   bool // not YAML: masks are guessed from the lines
	mistakes Errors
	warnings Errors
}

func newSource(data []byte) *source {
	s := strings.TrimPrefix(string(data), "\ufeff")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return &source{data: s, lines: strings.Split(s, "\n")}
}

func (s *source) add(line, column int, format string, args ...any) {
	s.mistakes = append(s.mistakes, Mistake{Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

func (s *source) warn(line, column int, format string, args ...any) {
	s.warnings = append(s.warnings, Mistake{Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

// parse turns the text into a tree with its variables expanded. It returns nil
// when the text is not YAML at all.
func (s *source) parse(lookup func(string) (string, bool)) *node {
	if i := invalidUTF8(s.data); i >= 0 {
		line := 1 + strings.Count(s.data[:i], "\n")
		s.broken = true
		s.add(line, 1, "this line is not valid UTF-8")
		return nil
	}
	file, err := s.parseYAML()
	if err != nil {
		s.broken = true
		s.addSyntax(err)
		return nil
	}
	t := tree{src: s, lookup: lookup, anchors: map[string]*node{}}
	root := &node{kind: object, line: 1, column: 1, size: 1}
	seen := false
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.DirectiveType {
			continue
		}
		if seen {
			line, column := place(doc.Body)
			s.add(line, column, "a second document begins here: the configuration is one document")
			break
		}
		seen = true
		root = t.build(doc.Body, atRoot)
	}
	if t.tooBig {
		return nil
	}
	return root
}

// parseYAML guards the parser: deep nesting would cost it much time and stack, and
// what it cannot digest must not end the process.
func (s *source) parseYAML() (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			file, err = nil, errors.New("this is not YAML that can be understood")
		}
	}()
	tokens := lexer.Tokenize(s.data)
	const maxNesting = 64
	depth, opened, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, opened = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			opened++
		}
		if depth > maxNesting || opened > maxNesting {
			return nil, &placedError{line: t.Position.Line, column: t.Position.Column, message: "nested too deeply"}
		}
	}
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// placedError is a syntax error of our own.
type placedError struct {
	line, column int
	message      string
}

func (e *placedError) Error() string { return e.message }

func (s *source) addSyntax(err error) {
	line, column, message := 1, 1, err.Error()
	if own, ok := errors.AsType[*placedError](err); ok {
		line, column = own.line, own.column
	} else if y, ok := errors.AsType[yaml.Error](err); ok {
		message = y.GetMessage()
		if t := y.GetToken(); t != nil && t.Position != nil {
			line, column = t.Position.Line, t.Position.Column
		}
	}
	line, column = max(1, min(line, len(s.lines))), max(1, column)
	hint := ""
	if content := s.lines[line-1]; strings.Contains(content, "${") && strings.ContainsAny(content, "{[") {
		hint = ` (inside { } and [ ], put "${…}" in quotes)`
	}
	s.add(line, column, "not valid YAML: %s%s", message, hint)
}

// finish puts what was found in the order of the file, each once (two rules may
// find the same mistake), and gives each its excerpt.
func (s *source) finish(found Errors) Errors {
	slices.SortStableFunc(found, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	found = slices.Compact(found)
	for i := range found {
		m := &found[i]
		if m.Line < 1 || m.Line > len(s.lines) {
			m.Line = 0
			continue
		}
		m.Column = max(1, min(m.Column, utf8.RuneCountInString(s.lines[m.Line-1])+1))
		m.Excerpt, m.Column = s.excerpt(m.Line, m.Column)
	}
	return found
}

func invalidUTF8(s string) int {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return -1
}
