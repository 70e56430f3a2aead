package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"time"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
	"github.com/anybridge/anybridge/core"
)

// reloadTime bounds how long applying a configuration may take.
const reloadTime = time.Minute

// undoTime bounds how long going back to a former section may take.
const undoTime = 10 * time.Second

// Reload reads the configuration again and applies what changed; what did not
// change is not touched. A configuration with mistakes, or one that cannot be
// applied, is refused whole: the error is InvalidArgument with everything that is
// wrong, and the bridge goes on as it was. One reload runs at a time. Once begun it
// is finished, whatever becomes of ctx.
func (a *app) Reload(ctx context.Context) error {
	select {
	case a.changing <- struct{}{}:
		defer func() { <-a.changing }()
	case <-ctx.Done():
		return core.AsError(ctx.Err())
	case <-a.life.Done():
		return core.Errorf(core.Unavailable, "the bridge is shutting down")
	}
	if a.life.Err() != nil {
		return core.Errorf(core.Unavailable, "the bridge is shutting down")
	}
	err := a.reload(ctx)
	if err == nil {
		return nil
	}
	a.logRefused(err)
	if _, ok := errors.AsType[*core.Error](err); ok {
		return err
	}
	return core.Errorf(core.InvalidArgument, "the configuration is refused, the former one stays:\n\n%w", err)
}

func (a *app) reload(ctx context.Context) error {
	conf, err := a.o.Load()
	if err != nil {
		return err
	}
	if err := needsRestart(a.config, conf); err != nil {
		return err
	}
	tokens, err := a.tokenSet(conf)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reloadTime)
	defer cancel()
	defer context.AfterFunc(a.life, cancel)()
	p, err := a.prepare(ctx, conf, tokens)
	if err != nil {
		return err
	}
	a.commit(ctx, p)
	a.warn(conf)
	return nil
}

// needsRestart says what of a new configuration only a restart can apply.
func needsRestart(old, conf *config.Config) error {
	var errs []error
	if conf.DataDir != old.DataDir {
		errs = append(errs, fmt.Errorf("data_dir cannot change from %s while the bridge runs: restart it", old.DataDir))
	}
	if conf.DefaultBackend != old.DefaultBackend {
		errs = append(errs, fmt.Errorf("default_backend cannot change from %s while the bridge runs: restart it", old.DefaultBackend))
	}
	if conf.Engine != old.Engine {
		errs = append(errs, errors.New("engine cannot change while the bridge runs: restart it"))
	}
	if conf.AuditFile() != old.AuditFile() {
		errs = append(errs, errors.New("audit cannot change while the bridge runs: restart it"))
	}
	if frontLimits(conf) != frontLimits(old) {
		errs = append(errs, errors.New("body, connections and connections_per_address under limits cannot change while the bridge runs: restart it"))
	}
	return errors.Join(errs...)
}

// plan is a configuration that can be applied: what can fail has been done.
type plan struct {
	conf     *config.Config
	tokens   *core.Tokens
	moveDoor func()
	opened   map[string]*backend // new, or with another program than before
	changed  map[string]*backend // went on with another section
	removed  map[string]*backend // to be closed
	infos    map[string]core.Info
}

// prepare does everything that can fail, or takes it back.
func (a *app) prepare(ctx context.Context, conf *config.Config, tokens *core.Tokens) (_ *plan, err error) {
	p := &plan{conf: conf, tokens: tokens, changed: map[string]*backend{}, removed: map[string]*backend{}, infos: map[string]core.Info{}}
	var undo []func()
	defer func() {
		if err != nil {
			slices.Reverse(undo)
			for _, f := range undo {
				f()
			}
		}
	}()

	commit, back, err := a.moveDoor(ctx, conf)
	if err != nil {
		return nil, err
	}
	p.moveDoor = commit
	undo = append(undo, back)

	var fresh, other []config.Backend
	for _, b := range conf.Backends {
		running := a.backends[b.Name]
		if running == nil || !running.sameProgram(b) {
			fresh = append(fresh, b)
		} else {
			other = append(other, b)
		}
	}
	if p.opened, err = a.launchAll(ctx, fresh, tokens); err != nil {
		return nil, err
	}
	undo = append(undo, func() { a.closeNow(p.opened) })
	for name, b := range p.opened {
		p.infos[name] = b.plugin.Info()
	}

	for _, b := range other {
		running, section := a.backends[b.Name], sectionFor(b, tokens)
		if string(section) == string(running.section) {
			p.infos[b.Name] = running.plugin.Info()
			continue
		}
		undo = append(undo, func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
			defer cancel()
			if _, err := running.plugin.Open(ctx, running.section); err != nil {
				a.log.Error("go back to the former section", slog.String("backend", b.Name), slog.Any("error", err))
			}
		})
		if _, err := running.plugin.Open(ctx, section); err != nil {
			return nil, fmt.Errorf("reconfigure backend %s: %w", b.Name, err)
		}
		p.infos[b.Name] = running.plugin.Info()
		p.changed[b.Name] = &backend{config: b, section: section, plugin: running.plugin}
	}

	if err := checkRoutes(conf.Routes, func(name string) core.Capabilities { return p.infos[name].Can }); err != nil {
		return nil, err
	}
	for name, running := range a.backends {
		kept := slices.ContainsFunc(conf.Backends, func(b config.Backend) bool { return b.Name == name })
		if !kept || p.opened[name] != nil {
			p.removed[name] = running
		}
	}
	return p, nil
}

// commit applies a plan.
func (a *app) commit(ctx context.Context, p *plan) {
	old := a.tokens.Swap(p.tokens)
	if policy := callbackPolicy(p.conf); !reflect.DeepEqual(policy, callbackPolicy(a.config)) {
		a.sender.SetPolicy(policy)
	}
	taken := a.applyTokens(ctx, old, p.tokens)
	a.routes.Apply(p.conf.Routes, func(name string) string { return p.infos[name].Kind })
	if len(p.removed) > 0 {
		a.routes.Sync(ctx) // while the backends of former routes are still there
	}
	for name := range p.removed {
		if p.opened[name] == nil {
			a.bridge.RemoveBackend(name)
			delete(a.backends, name)
		}
	}
	for name, b := range p.opened {
		a.setBackend(name, b)
		a.backends[name] = b
	}
	for name, b := range p.changed {
		a.bridge.SetBackend(name, b.plugin, b.plugin.Info())
		a.backends[name] = b
	}
	a.closeNow(p.removed)
	p.moveDoor()
	a.config = p.conf
	if err := a.keepSecrets(p.tokens); err != nil {
		a.log.Error("reload", slog.Any("error", err))
	}
	a.sync(ctx)
	a.log.Info("configuration reloaded", slog.Int("backends_opened", len(p.opened)), slog.Int("backends_changed", len(p.changed)),
		slog.Int("backends_closed", len(p.removed)), slog.Int("bindings_removed", taken))
}

// setBackend adds a backend, or puts it in the place of the one of that name. What
// is subscribed and registered there follows from the registry.
func (a *app) setBackend(name string, b *backend) {
	a.bridge.RemoveBackend(name)
	a.bridge.SetBackend(name, b.plugin, b.plugin.Info())
}

func (a *app) closeNow(backends map[string]*backend) {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	closeAll(ctx, backends, a.log)
}

// logRefused logs each mistake as an event of its own.
func (a *app) logRefused(err error) {
	mistakes, ok := errors.AsType[config.Errors](err)
	if !ok {
		a.log.Error("configuration refused", slog.Any("error", err))
		return
	}
	for _, m := range mistakes {
		a.log.Error("configuration refused", slog.String("file", m.File), slog.Int("line", m.Line), slog.Int("column", m.Column), slog.String("mistake", m.Message))
	}
}
