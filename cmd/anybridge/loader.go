package main

import (
	"os"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
)

// loader reads the configuration that a command line means, again and again.
type loader struct {
	file      string // --config; "" = ./anybridge.yaml if it is there
	listen    string // --listen
	dataDir   string // --data-dir
	lookupEnv func(string) (string, bool)
}

// load reads the configuration. A file that was used once must be there from then
// on: falling back to the defaults would let everybody's token lapse.
func (l *loader) load() (*config.Config, error) {
	if l.file == "" {
		if _, err := os.Stat(config.DefaultFile); err == nil {
			l.file = config.DefaultFile
		}
	}
	return config.Load(config.Options{
		File: l.file, Listen: l.listen, DataDir: l.dataDir,
		LookupEnv: l.lookupEnv, Kinds: kinds(),
	})
}
