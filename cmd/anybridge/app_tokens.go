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

	rest "github.com/anybridge/anybridge/adapters/http"
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
		return core.NewTokens([]*core.Token{{
			Name: defaultToken, ID: core.TokenID(text), Hash: core.HashToken(text), Users: true, Grants: grants, Limits: conf.Limits.Token,
		}})
	}
	tokens := make([]*core.Token, len(conf.Tokens))
	for i, t := range conf.Tokens {
		tokens[i] = &t.Token
	}
	return core.NewTokens(tokens)
}

// defaultTokenText takes the default token from the environment or from its file,
// which it writes if it is not there.
func (a *app) defaultTokenText(dir string) (string, error) {
	if text, ok := a.o.LookupEnv(tokenEnv); ok && strings.TrimSpace(text) != "" {
		text = strings.TrimSpace(text)
		if core.MistypedToken(text) {
			return "", fmt.Errorf("the token in %s is mistyped: its check digits are wrong; is it complete?", tokenEnv)
		}
		return text, nil
	}
	path := filepath.Join(dir, tokenFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text := core.NewTokenText()
		if err := writePrivate(path, []byte(text+"\n")); err != nil {
			return "", fmt.Errorf("keep the default token: %w", err)
		}
		a.log.Info("token made", slog.String("file", path))
		return text, nil
	}
	if err != nil {
		return "", fmt.Errorf("read the default token: %w", err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" || core.MistypedToken(text) {
		return "", fmt.Errorf("the file of the default token, %s, is empty or incomplete: remove it, and a new token is made", path)
	}
	info, err := os.Stat(path)
	if err == nil {
		err = a.tighten(path, info, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("keep the default token, %s, from others: %w", path, err)
	}
	return text, nil
}

// writePrivate writes a file whole or not at all, for nobody else to read.
func writePrivate(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone when all went well
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// applyTokens takes from each owner what its token no longer allows: everything
// when the token is gone or has another secret (one that has become the previous
// one is none), else what the scopes leave out. It returns how many registrations
// and subscriptions that were.
func (a *app) applyTokens(ctx context.Context, old, current *core.Tokens) int {
	removed := 0
	for _, t := range old.All() {
		now := current.Named(t.Name)
		grants := core.Grants{}
		if now != nil && now.Continues(t) {
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
	var lost []rest.AuditEntry
	allSubs, allRegs, _ := a.engine.Bindings()
	for _, s := range allSubs {
		if s.Owner != owner {
			continue
		}
		if !grants.AllowPattern(core.VerbSubscribe, s.Pattern) {
			subs = append(subs, s.Pattern)
			lost = append(lost, rest.NewAuditEntry(owner, "revoked", s.Pattern, s.Endpoint.URL, nil))
		}
	}
	for _, r := range allRegs {
		if r.Owner != owner {
			continue
		}
		if !grants.AllowPattern(core.VerbRegister, r.Pattern) {
			regs = append(regs, r.Pattern)
			lost = append(lost, rest.NewAuditEntry(owner, "revoked", r.Pattern, r.Endpoint.URL, nil))
		}
	}
	if len(subs)+len(regs) == 0 {
		return 0
	}
	_, errSubs := a.bridge.Unsubscribe(ctx, owner, subs)
	_, errRegs := a.bridge.Unregister(ctx, owner, regs)
	err := errors.Join(errSubs, errRegs)
	if err != nil {
		for i := range lost {
			lost[i].Outcome = string(core.CodeOf(err))
		}
		a.log.Error("take back what a token no longer allows", slog.String("token", owner), slog.Any("error", err))
	}
	a.record(lost...)
	a.log.Info("token restricted", slog.String("token", owner), slog.Int("subscriptions", len(subs)), slog.Int("registrations", len(regs)))
	return len(subs) + len(regs)
}
