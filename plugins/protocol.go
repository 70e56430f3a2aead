package plugins

import _ "embed" // for Protocol

// Protocol is the text of backend.proto, for plugins in other languages.
//
//go:embed internal/pb/backend.proto
var Protocol string
