package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Mistake is one thing that is wrong in the file, at its place.
type Mistake struct {
	File    string // "" where there is no file
	Line    int    // from 1; 0 where it has no place in the file
	Column  int    // from 1, in characters
	Message string // one sentence for people, without secrets
	// Excerpt is the line with the values of secrets masked.
	Excerpt string
}

// Errors are all that is wrong in a configuration.
type Errors []Mistake

// Error shows all mistakes, one below the other.
func (m Errors) Error() string {
	texts := make([]string, len(m))
	for i, mistake := range m {
		texts[i] = mistake.String()
	}
	return strings.Join(texts, "\n\n")
}

// String is the mistake as "file:line:column: message", followed by the line it is
// about and a caret.
func (m Mistake) String() string {
	var b strings.Builder
	if m.File != "" {
		b.WriteString(m.File + ":")
	}
	if m.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", m.Line, m.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	b.WriteString(m.Message)
	if m.Line == 0 {
		return b.String()
	}
	line, column := window(m.Excerpt, m.Column)
	number := fmt.Sprintf("%5d | ", m.Line)
	fmt.Fprintf(&b, "\n%s%s\n%s| %s^", number, line, strings.Repeat(" ", len(number)-2), indent(line, column))
	return b.String()
}

// maxExcerpt is the longest excerpt, in characters.
const maxExcerpt = 120

// window cuts a long line down to what stands around the column.
func window(line string, column int) (string, int) {
	runes := []rune(line)
	if len(runes) <= maxExcerpt {
		return line, column
	}
	start := max(0, min(column-maxExcerpt/2, len(runes)-maxExcerpt))
	end := start + maxExcerpt
	prefix, suffix := "", ""
	if start > 0 {
		prefix = "…"
	}
	if end < len(runes) {
		suffix = "…"
	}
	return prefix + string(runes[start:end]) + suffix, column - start + utf8.RuneCountInString(prefix)
}

// indent is white space as wide as what stands before the column.
func indent(line string, column int) string {
	var b strings.Builder
	for i, r := range []rune(line) {
		if i >= column-1 {
			break
		}
		if r == '\t' {
			b.WriteByte('\t')
			continue
		}
		b.WriteByte(' ')
	}
	return b.String()
}
