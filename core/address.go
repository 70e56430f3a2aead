package core

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxNameLen is the longest name, in bytes, that an Address may have.
const MaxNameLen = 1024

// Address names a topic or a procedure on one backend. Its text form is
// "backend:name", for example "redis:orders" or "irc:#ops".
type Address struct {
	Backend string
	Name    string
}

// ParseAddress reads the text form. What stands before the first colon is the
// backend when it looks like a backend name (see ValidBackendName); without such a
// prefix the address belongs to defaultBackend. A name that itself begins with
// "word:" therefore needs its backend written in front.
func ParseAddress(s, defaultBackend string) (Address, error) {
	a := Address{Backend: defaultBackend, Name: s}
	if prefix, rest, ok := strings.Cut(s, ":"); ok && ValidBackendName(prefix) {
		a = Address{Backend: prefix, Name: rest}
	}
	if err := a.Valid(); err != nil {
		return Address{}, err
	}
	return a, nil
}

// String is the text form that ParseAddress reads back.
func (a Address) String() string { return a.Backend + ":" + a.Name }

// Text is the shortest text form: the backend is left out when it is the default
// and the name cannot be mistaken for a prefixed one.
func (a Address) Text(defaultBackend string) string {
	if a.Backend == defaultBackend {
		if prefix, _, ok := strings.Cut(a.Name, ":"); !ok || !ValidBackendName(prefix) {
			return a.Name
		}
	}
	return a.String()
}

// Valid checks what holds on every backend: a name is 1 to MaxNameLen bytes of
// UTF-8 without control characters or line breaks. What else a name must be, the
// backend says.
func (a Address) Valid() error {
	switch {
	case !ValidBackendName(a.Backend):
		return Errorf(InvalidArgument, "backend name %q: want 1 to 64 characters of a-z, 0-9, _ and -, beginning with a letter", a.Backend)
	case a.Name == "":
		return Errorf(InvalidArgument, "address %q has no name after the backend", a.String())
	case len(a.Name) > MaxNameLen:
		return Errorf(InvalidArgument, "name of %d bytes: at most %d are allowed", len(a.Name), MaxNameLen)
	case !utf8.ValidString(a.Name):
		return Errorf(InvalidArgument, "name %q is not valid UTF-8", a.Name)
	}
	for i, r := range a.Name {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return Errorf(InvalidArgument, "name %q has a control character at byte %d", a.Name, i)
		}
	}
	return nil
}

// ValidBackendName reports whether s can name a backend: a lower-case letter
// followed by up to 63 lower-case letters, digits, underscores or hyphens.
func ValidBackendName(s string) bool {
	if s == "" || len(s) > 64 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := 1; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
