// Package examples holds the texts from which "anybridge plugin new" makes a plugin to
// begin with.
package examples

import "embed"

// Plugins are plugin-echo and plugin-python, without what is generated.
//
//go:embed plugin-echo/*.go plugin-python/anybridge_plugin.py plugin-python/echo.py plugin-python/run plugin-python/setup
//go:embed plugin-python/requirements.txt plugin-python/conformance_test.go plugin-python/.gitignore
var Plugins embed.FS
