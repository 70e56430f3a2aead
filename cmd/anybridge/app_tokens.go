package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
	"github.com/anybridge/anybridge/core"
)

// The token of a bridge whose configuration has none.
const (
	defaultToken = "default"
	tokenFile    = "token" // in the data folder
	tokenEnv     = "ANYBRIDGE_TOKEN"
)

// tokenSet is who may use the bridge: the tokens of the configuration or, if it
// has none, the default token.
func (a *app) tokenSet(conf *config.Config) (*core.Tokens, error) {
	if len(conf.Tokens) == 0 {
		text, err := a.defaultTokenText(conf.DataDir)
		if err != nil {
			return nil, err
		}
		grants, err := core.ParseGrants([]string{"*"}, conf.DefaultBackend)
		if err != nil {
			return nil, err
		}
		return core.NewTokens([]*core.Token{{Name: defaultToken, Hash: core.HashToken(text), Grants: grants}})
	}
	tokens := make([]*core.Token, len(conf.Tokens))
	for i, t := range conf.Tokens {
		tokens[i] = &core.Token{Name: t.Name, Hash: t.Hash, Grants: t.Grants}
	}
	return core.NewTokens(tokens)
}

// defaultTokenText takes the default token from the environment or from its file,
// which it writes if it is not there.
func (a *app) defaultTokenText(dir string) (string, error) {
	if text, ok := a.o.LookupEnv(tokenEnv); ok && strings.TrimSpace(text) != "" {
		return strings.TrimSpace(text), nil
	}
	path := filepath.Join(dir, tokenFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text := core.NewTokenText()
		if err := writeToken(path, text); err != nil {
			return "", fmt.Errorf("keep the default token: %w", err)
		}
		a.log.Info("token made", slog.String("file", path))
		return text, nil
	}
	if err != nil {
		return "", fmt.Errorf("read the default token: %w", err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		return "", fmt.Errorf("the file of the default token, %s, is empty: remove it, and a new token is made", path)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		a.log.Warn("others can read the default token", slog.String("file", path), slog.String("mode", info.Mode().Perm().String()))
	}
	return text, nil
}

// writeToken writes the file whole or not at all.
func writeToken(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), tokenFile+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone when all went well
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// applyTokens takes from each owner what its token no longer allows: everything
// when the token is gone or has another secret, else what the scopes leave out. It
// returns how many registrations and subscriptions that were.
func (a *app) applyTokens(ctx context.Context, old, current *core.Tokens) int {
	removed := 0
	for _, t := range old.All() {
		now := current.Named(t.Name)
		grants := core.Grants{}
		if now != nil && now.Hash == t.Hash {
			grants = now.Grants
		}
		removed += a.restrict(ctx, t.Name, grants)
	}
	return removed
}

// restrict removes what the owner holds beyond the grants. What is still owed to
// its endpoints is forgotten.
func (a *app) restrict(ctx context.Context, owner string, grants core.Grants) int {
	var subs, regs []core.Pattern
	var forget []string
	for _, s := range a.bridge.Subscriptions(owner) {
		if !grants.AllowPattern(core.VerbSubscribe, s.Pattern) {
			subs, forget = append(subs, s.Pattern), append(forget, s.ID())
		}
	}
	for _, r := range a.bridge.Registrations(owner) {
		if !grants.AllowPattern(core.VerbRegister, r.Pattern) {
			regs = append(regs, r.Pattern)
		}
	}
	if len(subs)+len(regs) == 0 {
		return 0
	}
	_, errSubs := a.bridge.Unsubscribe(ctx, owner, subs)
	_, errRegs := a.bridge.Unregister(ctx, owner, regs)
	for _, id := range forget {
		a.engine.Forget(id)
	}
	if err := errors.Join(errSubs, errRegs); err != nil {
		a.log.Error("take back what a token no longer allows", slog.String("token", owner), slog.Any("error", err))
	}
	a.log.Info("token restricted", slog.String("token", owner), slog.Int("subscriptions", len(subs)), slog.Int("registrations", len(regs)))
	return len(subs) + len(regs)
}
