package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFileSize is far beyond any configuration written by people.
const maxFileSize = 256 << 10

// Options are what Load needs beside the file.
type Options struct {
	// File is the file to read; "" stands for the defaults alone.
	File string
	// Listen and DataDir, if not empty, are used instead of what the file says.
	// DataDir is relative to the working directory.
	Listen  string
	DataDir string
	// LookupEnv reads an environment variable.
	LookupEnv func(name string) (string, bool)
	// Kinds are the built-in backends.
	Kinds map[string]Kind
}

// Kind is what the configuration has to know of a built-in backend.
type Kind struct {
	Check Check    // nil: nothing to find
	Paths []string // keys, as "router.tls.cert", whose values name files
}

// Check looks for mistakes in the section of one built-in backend. Several
// mistakes are one error that unwraps to all of them (errors.Join). A message that
// begins with the path of a key, as in "router.listen: …" or
// "router.principals[0].role: …", is shown at that key.
type Check func(section json.RawMessage) error

// Load reads and checks a configuration. The error is Errors, or that of the
// file system.
func Load(o Options) (*Config, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the working directory: %w", err)
	}
	var data []byte
	file := ""
	if o.File != "" {
		if file, err = filepath.Abs(o.File); err != nil {
			return nil, fmt.Errorf("find the configuration: %w", err)
		}
		if data, err = readFile(o.File); err != nil {
			return nil, err
		}
	}
	if o.DataDir != "" && !filepath.IsAbs(o.DataDir) {
		o.DataDir = filepath.Join(dir, o.DataDir)
	}
	if file != "" {
		dir = filepath.Dir(file)
	}
	config, mistakes := parse(data, dir, o)
	if len(mistakes) > 0 {
		for i := range mistakes {
			mistakes[i].File = o.File
		}
		return nil, mistakes
	}
	for i := range config.Warnings {
		config.Warnings[i].File = o.File
	}
	config.File = file
	return config, nil
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s (anybridge init writes one)", name)
	case err != nil:
		return nil, fmt.Errorf("read the configuration: %w", err)
	case info.IsDir():
		return nil, fmt.Errorf("read the configuration: %s is a folder", name)
	case info.Size() > maxFileSize:
		return nil, fmt.Errorf("read the configuration: %s is larger than %d KiB", name, maxFileSize>>10)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return data, nil
}

// parse reads the text of a configuration whose relative paths belong to dir.
func parse(data []byte, dir string, o Options) (*Config, Errors) {
	src := newSource(data)
	root := src.parse(o.LookupEnv)
	var config *Config
	if root != nil {
		d := decoder{src: src, dir: dir, o: o}
		config = d.config(root)
	}
	if len(src.mistakes) > 0 {
		return nil, src.finish(src.mistakes)
	}
	config.Warnings = src.finish(src.warnings)
	return config, nil
}

// Equal reports whether two sections hold the same bytes of JSON.
func (b Backend) Equal(other Backend) bool {
	return b.Name == other.Name && b.Kind == other.Kind && b.Plugin == other.Plugin &&
		b.SHA256 == other.SHA256 && bytes.Equal(b.Config, other.Config)
}
