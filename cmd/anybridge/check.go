package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
)

func newCheck(c cli) *cobra.Command {
	l := loader{lookupEnv: c.lookupEnv}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a configuration and show every mistake with its place",
		Long: `Check a configuration without running it. Every mistake is shown with its line and
an excerpt; the exit code is then 1. Variables are expanded, so set those that the
file needs.`,
		Example: `  anybridge check
  SHOP_TOKEN=x anybridge check --config /etc/anybridge.yaml`,
		Args: needArgs(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if _, err := os.Stat(config.DefaultFile); l.file == "" && errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("there is no %s here: anybridge init writes one, --config names another", config.DefaultFile)
			}
			conf, err := l.load()
			if err != nil {
				return err
			}
			if len(conf.Warnings) > 0 {
				fmt.Fprintf(c.err, "%v\n\n", conf.Warnings)
			}
			_, err = fmt.Fprintf(c.out, "%s is right: %s, %s\n", nearPath(conf.File), plural(len(conf.Backends), "backend"), plural(len(conf.Tokens), "token"))
			return err
		},
	}
	cmd.Flags().StringVar(&l.file, "config", "", "the file to check (default ./"+config.DefaultFile+")")
	return cmd
}
