package config

import (
	"fmt"
	"strings"
)

// expand replaces ${NAME} and ${NAME:-default} in s by what lookup finds, and $$
// by $. As in a shell, the default counts where the variable is unset or empty;
// without a default an unset variable is an error. A $ before anything else stands
// for itself. The result is never expanded again. variable is the name when s is
// one ${NAME} and nothing else.
func expand(s string, lookup func(string) (string, bool)) (out, variable string, err error) {
	var b strings.Builder
	whole := s
	for {
		before, rest, found := strings.Cut(s, "$")
		b.WriteString(before)
		if !found {
			return b.String(), variable, nil
		}
		switch {
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			s = rest[1:]
			continue
		case !strings.HasPrefix(rest, "{"):
			b.WriteByte('$')
			s = rest
			continue
		}
		inside, after, closed := strings.Cut(rest[1:], "}")
		if !closed {
			return "", "", fmt.Errorf("${ without a closing } (write $${ for the characters themselves)")
		}
		name, fallback, hasFallback := strings.Cut(inside, ":-")
		if !validVariable(name) {
			return "", "", fmt.Errorf("${…} must hold the name of an environment variable, as in ${NAME} or ${NAME:-default}")
		}
		value, ok := lookup(name)
		switch {
		case hasFallback && value == "":
			value = fallback
		case !ok && !hasFallback:
			return "", "", fmt.Errorf("the environment variable %s is not set (${%s:-default} gives it a default)", name, name)
		}
		b.WriteString(value)
		if whole == "${"+name+"}" {
			variable = name
		}
		s = after
	}
}

func validVariable(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
