package irc

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ergochat/irc-go/ircfmt"
	"github.com/ergochat/irc-go/ircutils"
)

// lines makes what may stand in messages out of any text: one line per line of the
// text, without those that are empty, and without control characters other than
// formatting (https://modern.ircdocs.horse/formatting).
func lines(text string) []string {
	var out []string
	for _, l := range strings.FieldsFunc(text, isNewline) {
		l = strings.Map(func(r rune) rune {
			switch {
			case r == '\t':
				return ' '
			case strings.ContainsRune(formatting, r):
				return r
			case unicode.IsControl(r):
				return -1
			}
			return r
		}, strings.ToValidUTF8(l, "\uFFFD"))
		if strings.Trim(l, " ") != "" {
			out = append(out, l)
		}
	}
	return out
}

// formatting are the characters that switch bold, colour, hexadecimal colour, reset,
// monospace, reverse, italics, strikethrough and underline.
const formatting = "\x02\x03\x04\x0f\x11\x16\x1d\x1e\x1f"

func isNewline(r rune) bool {
	switch r {
	case '\n', '\r', '\v', '\f', '\u0085', '\u2028', '\u2029':
		return true
	}
	return false
}

// split cuts a line into pieces of at most limit bytes: at a space if there is one in
// the last part of the piece, otherwise between characters, not before one that
// belongs to the character in front of it.
func split(line string, limit int) []string {
	var out []string
	for len(line) > limit {
		piece := ircutils.TruncateUTF8Safe(line, limit)
		if piece == "" {
			piece = line[:limit]
		}
		if i := strings.LastIndexByte(line[:len(piece)+1], ' '); i > limit/2 {
			out, line = append(out, line[:i]), line[i+1:]
			continue
		}
		if i := clusterStart(line, len(piece)); i > 0 {
			piece = line[:i]
		}
		out, line = append(out, piece), line[len(piece):]
	}
	if line != "" || len(out) == 0 {
		out = append(out, line)
	}
	return out
}

// clusterStart moves the cut at byte i back to where it separates no combining mark,
// variation selector, joiner or skin tone from what stands before; 0 if there is no
// such place near.
func clusterStart(line string, i int) int {
	const far = 64
	for start := i; i > 0 && start-i < far; {
		next, _ := utf8.DecodeRuneInString(line[i:])
		before, size := utf8.DecodeLastRuneInString(line[:i])
		if !joins(next) && before != '\u200d' {
			return i
		}
		i -= size
	}
	return 0
}

func joins(r rune) bool {
	return r == '\u200d' || unicode.In(r, unicode.M, unicode.Variation_Selector) || r >= 0x1F3FB && r <= 0x1F3FF
}

// plain removes formatting from text that came in.
func plain(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0 {
		return text
	}
	text = ircfmt.Strip(stripHexColour(text))
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
}

// stripHexColour removes 0x04 with the digits that follow, as in "\x04FF0000,00FF00".
func stripHexColour(text string) string {
	head, rest, ok := strings.Cut(text, "\x04")
	if !ok {
		return text
	}
	var b strings.Builder
	for ok {
		b.WriteString(head)
		if hexColour(rest) {
			rest = rest[6:]
			if strings.HasPrefix(rest, ",") && hexColour(rest[1:]) {
				rest = rest[7:]
			}
		}
		head, rest, ok = strings.Cut(rest, "\x04")
	}
	return b.String() + head
}

func hexColour(s string) bool {
	return len(s) >= 6 && strings.Trim(s[:6], "0123456789abcdefABCDEF") == ""
}
