package core

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// maxInvocations bounds the invocations of one procedure that are under way at
// once; more are answered with TooMany.
const maxInvocations = 4096

// maxInvocationTime bounds an invocation whose caller gave no timeout. The
// endpoint's own timeout is usually far shorter.
const maxInvocationTime = time.Hour

// registrationGroup is one registration on a backend and the endpoints that share
// it.
type registrationGroup struct {
	pattern Pattern
	invoke  string
	stream  Stream[*Invocation]
	members atomic.Pointer[[]*Registration] // an immutable list, replaced whole
	next    atomic.Uint64                   // for roundrobin
	running atomic.Int64
}

// Register adds the registrations, all or none. One of the same owner and pattern
// is replaced; one of another owner is AlreadyExists, unless both ask for the same
// shared invocation policy. It returns when the backends have accepted them and the
// Registry keeps them.
func (b *Bridge) Register(ctx context.Context, regs []*Registration) error {
	patterns := make([]Pattern, len(regs))
	for i, r := range regs {
		patterns[i] = r.Pattern
	}
	entries, unlock, err := b.lock(ctx, patterns)
	if err != nil {
		return err
	}
	defer unlock()
	return b.register(ctx, entries, regs, b.registry != nil && !allVolatileRegistrations(regs))
}

// SyncRegistration makes the tables follow the Registry for the registration with
// the owner and pattern of r: it is registered as it is kept there, or removed.
func (b *Bridge) SyncRegistration(ctx context.Context, r *Registration) error {
	entries, unlock, err := b.lock(ctx, []Pattern{r.Pattern})
	if err != nil {
		return err
	}
	defer unlock()
	kept := b.registry.Registration(r.ID())
	if kept == nil {
		b.unregister([]*Registration{r})
		return nil
	}
	return b.register(ctx, entries, []*Registration{kept}, false)
}

// register does the work of Register. The change semaphores are held.
func (b *Bridge) register(ctx context.Context, entries map[string]*backendEntry, regs []*Registration, save bool) error {
	for _, r := range regs {
		if err := r.Pattern.Valid(); err != nil {
			return err
		}
		can := entries[r.Pattern.Backend].open.Load().info.Can
		switch {
		case len(can.Register) == 0:
			return Errorf(Unimplemented, "backend %q cannot register procedures", r.Pattern.Backend)
		case !can.CanRegister(r.Pattern.Match):
			return Errorf(Unimplemented, "backend %q cannot register with match policy %q", r.Pattern.Backend, r.Pattern.Match)
		case !single(r.Invoke) && !slices.Contains(can.Invoke, r.Invoke):
			return Errorf(Unimplemented, "backend %q does not know the invocation policy %q", r.Pattern.Backend, r.Invoke)
		}
	}
	fresh, err := b.registerGroups(ctx, entries, regs)
	if err != nil {
		return err
	}
	if save {
		if err := b.registry.Save(ctx, nil, lastingRegistrations(regs)); err != nil {
			for _, g := range fresh {
				_ = g.stream.Close()
			}
			return err
		}
	}
	b.mu.Lock()
	for _, g := range fresh {
		b.registrations[g.pattern] = g
	}
	for _, r := range regs {
		b.registrations[r.Pattern].setMember(r.Owner, r)
	}
	b.mu.Unlock()
	for _, g := range fresh {
		b.wg.Go(func() { b.pumpInvocations(g) })
	}
	return nil
}

// registerGroups makes sure that every pattern is registered on its backend with
// the policy asked for, and returns the groups that are new. A group whose only
// member changes its policy is registered anew.
func (b *Bridge) registerGroups(ctx context.Context, entries map[string]*backendEntry, regs []*Registration) (fresh []*registrationGroup, err error) {
	defer func() {
		if err != nil {
			for _, g := range fresh {
				_ = g.stream.Close()
			}
		}
	}()
	for _, r := range regs {
		name := r.Pattern.Text(b.defaultBackend)
		if slices.ContainsFunc(fresh, func(g *registrationGroup) bool { return g.pattern == r.Pattern }) {
			continue
		}
		if g := b.registrationGroup(r.Pattern); g != nil {
			others := slices.ContainsFunc(*g.members.Load(), func(m *Registration) bool { return m.Owner != r.Owner })
			if others && (single(r.Invoke) || g.invoke != r.Invoke) {
				return fresh, Errorf(AlreadyExists, "procedure %s is registered by another token", name)
			}
			if g.invoke == r.Invoke || single(g.invoke) && single(r.Invoke) {
				continue
			}
			b.mu.Lock()
			delete(b.registrations, r.Pattern)
			b.mu.Unlock()
			_ = g.stream.Close()
		}
		g := &registrationGroup{pattern: r.Pattern, invoke: r.Invoke}
		g.members.Store(&[]*Registration{r})
		if g.stream, err = entries[r.Pattern.Backend].open.Load().Register(ctx, r.Pattern, RegisterOptions{Invoke: r.Invoke}); err != nil {
			return fresh, wrap(err, "register %s", name)
		}
		fresh = append(fresh, g)
	}
	return fresh, nil
}

// Unregister removes the owner's registrations of these patterns and returns the
// ones it did not have.
func (b *Bridge) Unregister(ctx context.Context, owner string, patterns []Pattern) (unknown []Pattern, err error) {
	_, unlock, err := b.lock(ctx, patterns)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var held []*Registration
	for _, p := range patterns {
		if r := b.registration(owner, p); r != nil {
			held = append(held, r)
		} else {
			unknown = append(unknown, p)
		}
	}
	if b.registry != nil && !allVolatileRegistrations(held) {
		if err := b.registry.Delete(ctx, nil, lastingRegistrations(held)); err != nil {
			return nil, err
		}
	}
	b.unregister(held)
	return unknown, nil
}

// unregister takes registrations out of the tables. The change semaphores are
// held.
func (b *Bridge) unregister(regs []*Registration) {
	var empty []*registrationGroup
	b.mu.Lock()
	for _, r := range regs {
		g := b.registrations[r.Pattern]
		if g == nil || !g.setMember(r.Owner, nil) || len(*g.members.Load()) > 0 {
			continue
		}
		delete(b.registrations, r.Pattern)
		empty = append(empty, g)
	}
	b.mu.Unlock()
	for _, g := range empty {
		if err := g.stream.Close(); err != nil {
			b.log.Warn("unregister", slog.String("pattern", g.pattern.String()), slog.Any("error", err))
		}
	}
}

// registration is what the owner holds for the pattern, or nil. It may be kept but
// not be in the tables yet, when its backend was away.
func (b *Bridge) registration(owner string, p Pattern) *Registration {
	if g := b.registrationGroup(p); g != nil {
		for _, r := range *g.members.Load() {
			if r.Owner == owner {
				return r
			}
		}
	}
	if b.registry == nil {
		return nil
	}
	return b.registry.Registration((&Registration{Owner: owner, Pattern: p}).ID())
}

// Registrations lists what the owner holds, or what everybody holds when owner is
// empty, by pattern and owner.
func (b *Bridge) Registrations(owner string) []*Registration {
	b.mu.RLock()
	var out []*Registration
	for _, g := range b.registrations {
		for _, r := range *g.members.Load() {
			if owner == "" || r.Owner == owner {
				out = append(out, r)
			}
		}
	}
	b.mu.RUnlock()
	slices.SortFunc(out, func(x, y *Registration) int {
		return strings.Compare(x.Pattern.String()+" "+x.Owner, y.Pattern.String()+" "+y.Owner)
	})
	return out
}

func (b *Bridge) registrationGroup(p Pattern) *registrationGroup {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.registrations[p]
}

// setMember replaces the owner's registration, or removes it when r is nil, and
// reports whether there was one. The bridge's mu is held.
func (g *registrationGroup) setMember(owner string, r *Registration) bool {
	members := slices.Clone(*g.members.Load())
	i := slices.IndexFunc(members, func(m *Registration) bool { return m.Owner == owner })
	switch {
	case i < 0 && r != nil:
		members = append(members, r)
	case i >= 0 && r != nil:
		members[i] = r
	case i >= 0:
		members = slices.Delete(members, i, i+1)
	}
	g.members.Store(&members)
	return i >= 0
}

// choose picks the endpoint for one invocation by the group's policy.
func (g *registrationGroup) choose() *Registration {
	members := *g.members.Load()
	if len(members) == 0 {
		return nil
	}
	switch g.invoke {
	case "last":
		return members[len(members)-1]
	case "roundrobin":
		return members[(g.next.Add(1)-1)%uint64(len(members))]
	case "random":
		return members[rand.IntN(len(members))] //nolint:gosec // load balancing, not a secret
	default:
		return members[0]
	}
}

// pumpInvocations carries calls from one backend registration to the Invoker until
// the stream ends.
func (b *Bridge) pumpInvocations(g *registrationGroup) {
	for {
		invocations, err := g.stream.Next(b.ctx)
		if err != nil {
			b.streamEnded("registration", g.pattern, err)
			return
		}
		for _, inv := range invocations {
			r := g.choose()
			switch {
			case r == nil:
				inv.Reply(nil, Errorf(NoSuchProcedure, "procedure %s is no longer registered", inv.Procedure))
			case g.running.Add(1) > maxInvocations:
				g.running.Add(-1)
				e := Errorf(TooMany, "%d calls of %s are under way", maxInvocations, inv.Procedure)
				e.RetryAfter = time.Second
				inv.Reply(nil, e)
			default:
				b.wg.Go(func() {
					b.invoke(r, inv)
					g.running.Add(-1)
				})
			}
		}
	}
}

func (b *Bridge) invoke(r *Registration, inv *Invocation) {
	timeout := inv.Timeout
	if timeout <= 0 {
		timeout = maxInvocationTime
	}
	ctx, cancel := context.WithTimeout(b.ctx, timeout)
	defer cancel()
	if inv.Canceled != nil {
		go func() {
			select {
			case <-inv.Canceled:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	b.stats.CallsIn.Add(1)
	b.stats.InvocationsNow.Add(1)
	result, err := b.invoker.Invoke(ctx, r, inv)
	b.stats.InvocationsNow.Add(-1)
	if err != nil {
		b.stats.CallsInFailed.Add(1)
	}
	inv.Reply(result, err)
}

func single(invoke string) bool { return invoke == "" || invoke == "single" }
