package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins"
)

// backend is one open backend.
type backend struct {
	config  config.Backend
	section json.RawMessage // what it was opened with last
	plugin  *plugins.Plugin
}

// sameProgram reports whether the other configuration is for the same executable,
// so that the plugin can take it over.
func (b *backend) sameProgram(other config.Backend) bool {
	return b.config.Kind == other.Kind && b.config.Plugin == other.Plugin && b.config.SHA256 == other.SHA256
}

// launchAll starts backends side by side, all or none.
func (a *app) launchAll(ctx context.Context, confs []config.Backend, tokens *core.Tokens) (map[string]*backend, error) {
	launched := make([]*backend, len(confs))
	errs := make([]error, len(confs))
	var wg sync.WaitGroup
	for i, conf := range confs {
		wg.Go(func() { launched[i], errs[i] = a.launch(ctx, conf, tokens) })
	}
	wg.Wait()
	out := map[string]*backend{}
	for _, b := range launched {
		if b != nil {
			out[b.config.Name] = b
		}
	}
	if err := errors.Join(errs...); err != nil {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		closeAll(grace, out, a.log)
		return nil, err
	}
	return out, nil
}

func (a *app) launch(ctx context.Context, conf config.Backend, tokens *core.Tokens) (*backend, error) {
	b := &backend{config: conf, section: sectionFor(conf, tokens)}
	spec := plugins.Spec{Name: conf.Name, Command: []string{conf.Plugin}, SHA256: conf.SHA256, Config: b.section}
	if conf.Kind != "" {
		spec.Command = []string{a.o.Program, "backend", conf.Kind}
	}
	var err error
	if b.plugin, err = plugins.Launch(ctx, spec, a.log); err != nil {
		return nil, fmt.Errorf("start backend %s: %w", conf.Name, err)
	}
	return b, nil
}

// closeAll closes backends side by side.
func closeAll(ctx context.Context, backends map[string]*backend, log *slog.Logger) {
	var wg sync.WaitGroup
	for name, b := range backends {
		wg.Go(func() {
			if err := b.plugin.Close(ctx); err != nil {
				log.Warn("close backend", slog.String("backend", name), slog.Any("error", err))
			}
		})
	}
	wg.Wait()
}

// sectionFor is what a backend is opened with: its section of the file, and the
// bridge's tokens where it lets them in by itself. The same tokens give the same
// bytes.
func sectionFor(conf config.Backend, tokens *core.Tokens) json.RawMessage {
	b := findBuiltin(conf.Kind)
	if b == nil || !b.tokens {
		return conf.Config
	}
	type entry struct {
		Name     string   `json:"name"`
		Hash     string   `json:"hash"`
		Previous string   `json:"previous,omitempty"`
		Allow    []string `json:"allow"`
	}
	entries := []entry{}
	for _, t := range tokens.All() {
		if allow := t.Grants.For(conf.Name); len(allow) > 0 {
			e := entry{Name: t.Name, Hash: hex.EncodeToString(t.Hash[:]), Allow: allow}
			if t.Previous != nil {
				e.Previous = hex.EncodeToString(t.Previous.Hash[:])
			}
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(x, y entry) int { return strings.Compare(x.Name, y.Name) })
	list, err := json.Marshal(entries)
	if err != nil {
		panic(err) // strings only
	}
	section := strings.TrimSuffix(string(conf.Config), "}")
	if section != "{" {
		section += ","
	}
	return json.RawMessage(section + `"tokens":` + string(list) + "}")
}
