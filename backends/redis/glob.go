package redis

import (
	"strings"

	"github.com/anybridge/anybridge/core"
)

// globOf is the glob-style pattern under which Redis sends at least what p matches;
// "" for an exact pattern.
func globOf(p core.Pattern) string {
	switch p.Match {
	case core.Prefix:
		return escapeGlob(p.Name) + "*"
	case core.Wildcard:
		parts := strings.Split(p.Name, ".")
		for i, part := range parts {
			if part == "" {
				parts[i] = "*" // crosses dots; see Pattern.Matches
			} else {
				parts[i] = escapeGlob(part)
			}
		}
		return strings.Join(parts, ".")
	}
	return ""
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}
