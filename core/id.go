package core

import (
	"crypto/rand"
	"strings"
)

// NewID makes an id of the form prefix_RANDOM with at least 128 random bits.
func NewID(prefix string) string { return prefix + "_" + strings.ToLower(rand.Text()) }
