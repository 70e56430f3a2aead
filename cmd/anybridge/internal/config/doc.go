// Package config reads anybridge.yaml: strictly, with every mistake reported at
// once and at its place, and without ever showing a secret.
//
// The text is parsed into a tree of nodes that know their places; variables are
// expanded in the scalars of the tree, so that a value can never become YAML; and
// the tree is decoded by hand, which is what lets one mistake not hide the next.
package config
