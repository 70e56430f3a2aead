package kit

import (
	"errors"
	"fmt"
	"strings"

	"github.com/anybridge/anybridge/core"
)

// Mistakes collects everything that is wrong with a section of the configuration. The
// zero value is ready. A place is the path of a key as people write it: "tls.ca",
// "channels[2].key"; "" is the section as a whole.
//
// No mistake may show the value of a key that can hold a secret.
type Mistakes struct {
	list []error
	bad  map[string]bool // places whose values are not known
}

// Add notes a mistake. The format is that of fmt.Errorf. What concerns a place whose
// value Decode could not read or whose key is mistyped, or one inside it, is left out: it
// would only be a consequence of the mistake that is known already.
func (m *Mistakes) Add(place, format string, args ...any) {
	for at := range m.bad {
		if rest, ok := strings.CutPrefix(place, at); ok && (rest == "" || at == "" || rest[0] == '.' || rest[0] == '[') {
			return
		}
	}
	err := fmt.Errorf(format, args...)
	if place != "" {
		err = fmt.Errorf("%s: %w", place, err)
	}
	m.list = append(m.list, err)
}

// unreadable notes that a value is not of its type.
func (m *Mistakes) unreadable(place, want string) {
	m.Add(place, "want %s", want)
	m.unread(place)
}

func (m *Mistakes) unread(place string) {
	if m.bad == nil {
		m.bad = map[string]bool{}
	}
	m.bad[place] = true
}

// Err is InvalidArgument with each mistake on a line of its own, in the order in which
// they were found, or nil if there is none.
func (m *Mistakes) Err() error {
	if len(m.list) == 0 {
		return nil // and no *core.Error in an error
	}
	return core.Errorf(core.InvalidArgument, "%w", errors.Join(m.list...))
}
