package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
	"github.com/anybridge/anybridge/core"
)

func newToken(c cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "token",
		Short:   "Make tokens for the configuration",
		Example: `  anybridge token new shop --allow 'call:com.shop.*'`,
		Args:    needArgs(0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenNew(c))
	return cmd
}

func newTokenNew(c cli) *cobra.Command {
	var allow []string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Print a new token, and the configuration lines that hold its hash",
		Long: `Print a new token for the app NAME, and the lines that let it in. The bridge needs
only the hash, so the token is shown this once.

A scope is VERB:ADDRESS with the verbs call, register, publish and subscribe, or
admin, or * for everything. A * at the end stands for whatever follows, a * between
dots for exactly one component.`,
		Example: `  anybridge token new shop
  anybridge token new mobile --allow 'call:com.shop.*' --allow 'subscribe:com.shop.*.created'`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if !config.ValidTokenName(name) {
				return usageError{cmd: cmd, message: fmt.Sprintf("%q cannot name a token: want letters, digits, and . _ @ - after the first", name)}
			}
			if _, err := core.ParseGrants(allow, config.DefaultBackend); err != nil {
				return usageError{cmd: cmd, message: core.AsError(err).Message}
			}
			text := core.NewTokenText()
			hash := core.HashToken(text)
			scopes := make([]string, len(allow))
			for i, s := range allow {
				q, err := json.Marshal(s)
				if err != nil {
					return fmt.Errorf("quote scope: %w", err)
				}
				scopes[i] = string(q)
			}
			fmt.Fprintf(c.err, "The token of %s, which is shown only this once, and what anybridge.yaml needs:\n\n", name)
			fmt.Fprintf(c.out, "%s\n\ntokens:\n  %q: {hash: \"%s%s:sha256:%s\", allow: [%s]}\n", text, name, core.TokenPrefix, core.TokenID(text), hex.EncodeToString(hash[:]), strings.Join(scopes, ", "))
			fmt.Fprintf(c.err, "\nPut it under tokens, beside the others, then: anybridge reload\n"+
				"In place of a former token of %s: put that one into previous: until the app has the new one.\n", name)
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&allow, "allow", []string{"*"}, "a scope; can be given several times")
	return cmd
}
