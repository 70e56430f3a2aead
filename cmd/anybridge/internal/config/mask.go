package config

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/token"

	"github.com/anybridge/anybridge/core"
)

// masked is what an excerpt shows instead of a secret, whatever its length.
const masked = "********"

// secrecy says what may be shown of a value, by where it stands in the file.
type secrecy int

const (
	shown    secrecy = iota
	atRoot           // the whole file
	inTokens         // the map of tokens: a plain value would be a secret
	inToken          // one token: what is not known to be harmless is a secret
	isHash           // a token's hash, unless it is the secret itself: by mistake, or as previous
	hidden
)

// under is the secrecy of what stands under a key.
func (s secrecy) under(key string) secrecy {
	switch {
	case s == hidden:
		return hidden
	case s == atRoot && key == "tokens":
		return inTokens
	case s == inTokens:
		return inToken
	case s == inToken && (key == "hash" || key == "previous"):
		return isHash
	case s == inToken && (key == "allow" || key == "rate" || key == "endpoints"):
		return shown
	case s == inToken, secretKey(key):
		return hidden
	}
	return shown
}

// item is the secrecy of a list's items.
func (s secrecy) item() secrecy {
	if s == inTokens || s == inToken {
		return hidden
	}
	return s
}

// variableOnly is a value that stands in the environment, not in the file.
var variableOnly = regexp.MustCompile(`^\$\{[A-Za-z_][A-Za-z0-9_]*\}$`)

// variableFirst is a value that begins with such a variable and ends after it.
var variableFirst = regexp.MustCompile(`^\$\{[A-Za-z_][A-Za-z0-9_]*\}["']?\s*([,}#]|$)`)

// hides reports whether a value that stands here must not be shown.
func (s secrecy) hides(value string) bool {
	switch s {
	case shown, atRoot:
		return false
	case isHash:
		return !hashForm.MatchString(value) && !variableOnly.MatchString(value)
	}
	return !variableOnly.MatchString(value)
}

// secretKey reports whether a key names a secret, or is a misspelling of such a
// name.
func secretKey(key string) bool {
	key = strings.ToLower(strings.ReplaceAll(key, "-", "_"))
	words := []string{"token", "secret", "password", "passwd", "passphrase", "ticket", "private", "credential", "api_key", "apikey"}
	return slices.ContainsFunc(words, func(w string) bool {
		return strings.Contains(key, w) || len(key) >= 4 && len(key) < 24 && core.EditDistance(key, w) <= 2
	})
}

// span is a range of the text, from a place up to but not including another.
type span struct {
	fromLine, fromColumn, toLine, toColumn int
}

// mask hides the text from a place to the next token, or to the end of the file.
func (s *source) mask(line, column int, next *token.Token) {
	m := span{fromLine: line, fromColumn: column, toLine: len(s.lines) + 1, toColumn: 1}
	if next != nil && next.Position != nil && next.Position.Line >= line {
		m.toLine, m.toColumn = next.Position.Line, next.Position.Column
	}
	s.masks = append(s.masks, m)
}

// urlPassword is the user and password of a URL.
var urlPassword = regexp.MustCompile(`://[^/\s@"']*:[^/\s"']*@`)

// excerpt is a line with its secrets masked, and where the column went.
func (s *source) excerpt(line, column int) (string, int) {
	content := strings.Map(printable, s.lines[line-1])
	var hide [][2]int // ranges of runes, in order, not overlapping
	runes := []rune(content)
	if s.broken {
		if from := s.guessSecret(line); from >= 0 {
			hide = append(hide, [2]int{from, len(runes)})
		}
	}
	for _, m := range s.masks {
		if line < m.fromLine || line > m.toLine {
			continue
		}
		from, to := 0, len(runes)
		if line == m.fromLine {
			from = min(m.fromColumn-1, to)
		}
		if line == m.toLine {
			to = max(from, min(m.toColumn-1, to))
		}
		hide = append(hide, [2]int{from, to})
	}
	for _, m := range urlPassword.FindAllStringIndex(content, -1) {
		hide = append(hide, [2]int{len([]rune(content[:m[0]])) + 3, len([]rune(content[:m[1]])) - 1})
	}
	slices.SortFunc(hide, func(a, b [2]int) int { return a[0] - b[0] })
	var b strings.Builder
	at, moved := 0, column
	for _, h := range hide {
		from, to := max(h[0], at), h[1]
		for from < to && isBlank(runes[from]) {
			from++
		}
		for to > from && isBlank(runes[to-1]) {
			to--
		}
		if from >= to {
			continue
		}
		b.WriteString(string(runes[at:from]) + masked)
		switch {
		case column-1 >= to:
			moved += len(masked) - (to - from)
		case column-1 > from:
			moved -= column - 1 - from
		}
		at = to
	}
	b.WriteString(string(runes[at:]))
	return b.String(), moved
}

// printable keeps what could play tricks with a terminal out of excerpts.
func printable(r rune) rune {
	if unicode.IsControl(r) && r != '\t' {
		return '\ufffd'
	}
	return r
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' }

var keyBefore = regexp.MustCompile(`([A-Za-z0-9_-]+)["']?[ \t]*:`)

// guessSecret finds where the secret in a line begins when the file could not be
// parsed, or returns -1. It rather hides too much.
func (s *source) guessSecret(line int) int {
	content := s.lines[line-1]
	runesTo := func(i int) int { return len([]rune(content[:i])) }
	inTokens := false
	depth := indentation(content)
	for i := line - 1; i >= 1 && depth > 0; i-- {
		above := s.lines[i-1]
		if strings.TrimSpace(above) == "" {
			continue
		}
		key := keyBefore.FindStringSubmatch(above)
		if key != nil && secretKey(key[1]) && (i == line-1 || indentation(above) < depth) && key[1] != "tokens" {
			return 0 // the value of that key goes on here
		}
		if indentation(above) < depth {
			depth = indentation(above)
			inTokens = inTokens || key != nil && key[1] == "tokens"
		}
	}
	for _, m := range keyBefore.FindAllStringSubmatchIndex(content, -1) {
		key, rest := content[m[2]:m[3]], strings.TrimLeft(content[m[1]:], " \t\"'")
		if strings.HasPrefix(rest, "{") || variableFirst.MatchString(rest) {
			continue
		}
		if secretKey(key) || inTokens && key != "allow" {
			return runesTo(m[1])
		}
	}
	if inTokens && !keyBefore.MatchString(content) {
		return 0
	}
	return -1
}

func indentation(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }
