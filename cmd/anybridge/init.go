package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
)

func newInit(c cli) *cobra.Command {
	var file string
	var force bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a commented " + config.DefaultFile,
		Long: `Write a configuration with a comment on everything it can say. It does what the
bridge does without one, so it is a place to start from.`,
		Example: `  anybridge init && anybridge check`,
		Args:    needArgs(0, 0),
		RunE: func(*cobra.Command, []string) error {
			mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
			if force {
				mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
			}
			f, err := os.OpenFile(file, mode, 0o600) // people put secrets into it
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s exists already; --force overwrites it", file)
			}
			if err != nil {
				return fmt.Errorf("write the configuration: %w", err)
			}
			_, err = f.Write(config.Example())
			if err = errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("write the configuration: %w", err)
			}
			_, err = fmt.Fprintf(c.out, "wrote %s: edit it, then anybridge check and anybridge serve\n", file)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", config.DefaultFile, "the file to write")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite the file if it exists")
	return cmd
}
