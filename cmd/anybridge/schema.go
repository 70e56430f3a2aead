package main

import (
	"github.com/spf13/cobra"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
)

func newSchema(c cli) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, for editors",
		Long: `Print the JSON Schema (draft 2020-12) of anybridge.yaml. Editors that know
yaml-language-server complete and check the file with it; the first line that
"anybridge init" writes tells them where it is.`,
		Example: `  anybridge schema > anybridge.schema.json`,
		Args:    needArgs(0, 0),
		RunE: func(*cobra.Command, []string) error {
			_, err := c.out.Write(config.Schema())
			return err
		},
	}
}
