package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	rest "github.com/anybridge/anybridge/adapters/http"
	"github.com/anybridge/anybridge/core"
)

// secretsFile, in the data folder, remembers which secrets the tokens had: what was
// registered with a secret that has been replaced while the bridge was down must not
// come back.
const secretsFile = "secrets.json"

// keepSecrets writes the hashes of the tokens' secrets, by name.
func (a *app) keepSecrets(tokens *core.Tokens) error {
	kept := map[string][]string{}
	for _, t := range tokens.All() {
		kept[t.Name] = []string{hex.EncodeToString(t.Hash[:])}
		if t.Previous != nil {
			kept[t.Name] = append(kept[t.Name], hex.EncodeToString(t.Previous.Hash[:]))
		}
	}
	data, err := json.Marshal(kept)
	if err == nil {
		err = writePrivate(filepath.Join(a.config.DataDir, secretsFile), data)
	}
	if err != nil {
		return fmt.Errorf("remember the tokens' secrets: %w", err)
	}
	return nil
}

// formerTokens are the tokens that keepSecrets wrote, by name.
func (a *app) formerTokens() (map[string]*core.Token, error) {
	data, err := os.ReadFile(filepath.Join(a.config.DataDir, secretsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // there are none
	}
	var kept map[string][]string
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if err != nil {
		return nil, fmt.Errorf("read the tokens' former secrets (%s in the data folder): %w", secretsFile, err)
	}
	former := map[string]*core.Token{}
	for name, hashes := range kept {
		t := &core.Token{Name: name}
		for i, text := range hashes {
			var hash core.TokenHash
			if _, err := hex.Decode(hash[:], []byte(text)); err != nil || len(text) != 2*len(hash) {
				return nil, fmt.Errorf("read the tokens' former secrets (%s in the data folder): a hash of %s is malformed", secretsFile, name)
			}
			if i == 0 {
				t.Hash = hash
			} else {
				t.Previous = &core.Credential{Hash: hash}
			}
		}
		former[name] = t
	}
	return former, nil
}

// revokeFormer takes out of the registry what no token allows any more: the
// configuration may have changed while the bridge was down.
func (a *app) revokeFormer(ctx context.Context) error {
	former, err := a.formerTokens()
	if err != nil {
		return err
	}
	allowed := func(owner string) core.Grants {
		now, before := a.tokens.Load().Named(owner), former[owner]
		if now == nil || before != nil && !now.Continues(before) {
			return core.Grants{}
		}
		return now.Grants
	}
	subs, regs, _ := a.engine.Bindings()
	var dropSubs []*core.Subscription
	var dropRegs []*core.Registration
	var lost []rest.AuditEntry
	for _, s := range subs {
		if core.IsRoute(s.Owner) {
			continue // forgetRoutes looks after these
		}
		if grants := allowed(s.Owner); !grants.AllowPattern(core.VerbSubscribe, s.Pattern) {
			dropSubs = append(dropSubs, s)
			lost = append(lost, rest.NewAuditEntry(s.Owner, "revoked", s.Pattern, s.Endpoint.URL, nil))
		}
	}
	for _, r := range regs {
		if grants := allowed(r.Owner); !grants.AllowPattern(core.VerbRegister, r.Pattern) {
			dropRegs = append(dropRegs, r)
			lost = append(lost, rest.NewAuditEntry(r.Owner, "revoked", r.Pattern, r.Endpoint.URL, nil))
		}
	}
	if len(lost) > 0 {
		if err := a.engine.Registry().Delete(ctx, dropSubs, dropRegs); err != nil {
			return fmt.Errorf("take back what tokens no longer allow: %w", err)
		}
		a.record(lost...)
		a.log.Info("tokens restricted since the last start", slog.Int("subscriptions", len(dropSubs)), slog.Int("registrations", len(dropRegs)))
	}
	return a.keepSecrets(a.tokens.Load())
}
