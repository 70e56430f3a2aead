package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	rest "github.com/anybridge/anybridge/adapters/http"
	"github.com/anybridge/anybridge/cmd/anybridge/internal/audit"
	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
	"github.com/anybridge/anybridge/plugins"
	"github.com/anybridge/anybridge/routes"
)

// appOptions are what an app needs; all fields are required.
type appOptions struct {
	// Load reads the configuration; it is called again at every reload.
	Load func() (*config.Config, error)
	// Program is the path of this program, which also runs the built-in backends.
	Program   string
	LookupEnv func(string) (string, bool)
	Log       *slog.Logger
}

// app is a bridge put together: tokens, engine, callbacks, frontend and the
// processes of the backends. Start comes first and Stop last; Addr, Reload and
// ready may be called concurrently in between.
type app struct {
	o        appOptions
	log      *slog.Logger
	bridge   *core.Bridge
	engine   *engine.Engine
	sender   *rest.Callbacks
	frontend *rest.Frontend
	routes   *routes.Table
	tokens   atomic.Pointer[core.Tokens]
	state    atomic.Pointer[string] // why the bridge is not ready; nil while it is
	door     atomic.Pointer[door]
	failed   chan error // gets what ends the bridge by itself
	audit    *audit.Log // open from Start to Stop; nil: there is none

	changing chan struct{} // a semaphore of one; its holder may use what follows
	config   *config.Config
	backends map[string]*backend

	lock      io.Closer      // of the data folder
	following sync.WaitGroup // follow
	telling   sync.WaitGroup // tellGap

	life context.Context //nolint:containedctx // ends with Stop, and ends a reload under way
	end  context.CancelFunc
}

// newApp reads the configuration and puts the parts together. Nothing runs yet.
func newApp(o appOptions) (*app, error) {
	conf, err := o.Load()
	if err != nil {
		return nil, err
	}
	a := &app{
		o: o, log: o.Log, config: conf, backends: map[string]*backend{},
		changing: make(chan struct{}, 1), failed: make(chan error, 1),
	}
	a.life, a.end = context.WithCancel(context.Background())
	a.notReady("the bridge is starting")
	a.sender, err = rest.NewCallbacks(rest.CallbackOptions{
		Policy:  callbackPolicy(conf),
		Version: programVersion(), DefaultBackend: conf.DefaultBackend, Log: o.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("make callbacks: %w", err)
	}
	a.engine = engine.New(a.engineOptions(conf))
	a.routes = routes.NewTable(o.Log, func() []*core.Subscription {
		subs, _, _ := a.engine.Bindings()
		return subs
	})
	a.bridge = core.NewBridge(core.BridgeOptions{
		DefaultBackend: conf.DefaultBackend, Deliverer: a.routes.Deliverer(a.engine), Registry: a.engine.Registry(),
		Invoker: a.routes.Invoker(a.sender), OnGap: a.tellGap, Log: o.Log,
	})
	a.routes.Attach(a.bridge)
	a.frontend, err = rest.New(rest.Options{
		Bridge: a.bridge, Work: a.engine, Callbacks: a.sender, Tokens: a.tokens.Load,
		Reload: a.Reload, Ready: a.ready, Processes: a.processes, Routes: a.routeViews, Version: programVersion(), Log: o.Log,
		Audit: a.record, Limits: frontLimits(conf),
	})
	if err != nil {
		return nil, fmt.Errorf("make the REST frontend: %w", err)
	}
	return a, nil
}

// Start opens everything and serves. When it returns without an error the bridge
// is ready; with one, nothing is left running.
func (a *app) Start(ctx context.Context) (err error) {
	a.changing <- struct{}{}
	defer func() {
		<-a.changing
		if err != nil {
			a.abandon()
		}
	}()
	a.warn(a.config)
	if err := a.openDataDir(a.config.DataDir); err != nil {
		return err
	}
	if a.lock, err = lockFolder(a.config.DataDir); err != nil {
		return err
	}
	if err := a.openAudit(); err != nil {
		return err
	}
	if err := a.engine.Open(ctx); err != nil {
		return err
	}
	tokens, err := a.tokenSet(a.config)
	if err != nil {
		return err
	}
	a.tokens.Store(tokens)
	d, err := openDoor(ctx, a.config)
	if err != nil {
		return err
	}
	a.door.Store(d)
	if a.backends, err = a.launchAll(ctx, a.config.Backends, tokens); err != nil {
		return err
	}
	for name, b := range a.backends {
		a.bridge.SetBackend(name, b.plugin, b.plugin.Info())
	}
	if err := a.revokeFormer(ctx); err != nil {
		return err
	}
	if err := checkRoutes(a.config.Routes, func(name string) core.Capabilities { return a.backends[name].plugin.Info().Can }); err != nil {
		return err
	}
	a.routes.Apply(a.config.Routes, a.kindOf)
	if err := a.forgetRoutes(ctx); err != nil {
		return err
	}
	a.sync(ctx)
	a.following.Go(a.follow)
	a.state.Store(nil)
	a.serve(d)
	a.log.Info("ready", slog.String("listen", d.url()), slog.Int("backends", len(a.backends)))
	return nil
}

// Addr is where the REST frontend listens, as HOST:PORT.
func (a *app) Addr() string { return a.door.Load().listener.Addr().String() }

// abandon takes down what a failed Start has opened.
func (a *app) abandon() {
	a.end()
	if d := a.door.Load(); d != nil {
		d.close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	a.routes.Close(ctx)
	_ = a.bridge.Close(ctx)
	a.telling.Wait()
	_ = a.engine.Close(ctx)
	a.sender.Close()
	closeAll(ctx, a.backends, a.log)
	_ = a.closeAudit(ctx)
	a.unlock()
}

// stopGrace is the time that backends have to close after the drain's own time is
// up.
const stopGrace = 3 * time.Second

// Stop ends the bridge: it stops accepting, finishes requests, asynchronous calls,
// invocations and attempts under way as long as ctx allows, and then closes the
// backends. What is owed stays on the disk. It returns ctx's error if something was
// cut off.
func (a *app) Stop(ctx context.Context) error {
	a.notReady("the bridge is shutting down")
	a.end()
	a.log.Info("draining")
	a.changing <- struct{}{} // a reload under way is given up, and waited for
	a.following.Wait()
	cut := a.frontend.Shutdown(ctx)
	// The engine waits for asynchronous calls, which need the backends.
	if err := a.engine.Drain(ctx); cut == nil {
		cut = err
	}
	a.routes.Close(ctx) // carries what waits in memory
	if err := a.bridge.Close(ctx); cut == nil {
		cut = err
	}
	a.telling.Wait()
	if err := a.engine.Close(ctx); cut == nil {
		cut = err
	}
	a.sender.Close()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	closeAll(grace, a.backends, a.log)
	if err := a.closeAudit(grace); cut == nil {
		cut = err
	}
	a.unlock()
	a.log.Info("stopped", slog.Bool("complete", cut == nil))
	return cut
}

func (a *app) notReady(why string) { a.state.Store(&why) }

// ready returns why the bridge should not be sent requests, or nil.
func (a *app) ready() error {
	if why := a.state.Load(); why != nil {
		return core.Errorf(core.Unavailable, "%s", *why)
	}
	return nil
}

// gone unsubscribes an endpoint that wants no more events, unless it has been
// replaced by another one meanwhile.
func (a *app) gone(ctx context.Context, s *core.Subscription) {
	for _, current := range a.bridge.Subscriptions(s.Owner) {
		if current.Pattern != s.Pattern || current.Endpoint.URL != s.Endpoint.URL {
			continue
		}
		_, err := a.bridge.Unsubscribe(ctx, s.Owner, []core.Pattern{s.Pattern})
		a.record(rest.NewAuditEntry(s.Owner, "gone", s.Pattern, s.Endpoint.URL, err))
		if err != nil {
			a.log.Warn("unsubscribe endpoint that is gone", slog.String("pattern", s.Pattern.String()), slog.Any("error", err))
		}
	}
}

// processes tells of the processes behind the backends.
func (a *app) processes() map[string]rest.Process {
	out := map[string]rest.Process{}
	for _, v := range a.bridge.Backends() {
		if p, ok := v.Backend.(*plugins.Plugin); ok {
			s := p.Process()
			out[v.Name] = rest.Process{PID: s.PID, Started: s.Started, Restarts: int64(s.Restarts)}
		}
	}
	return out
}

func (a *app) warn(conf *config.Config) {
	for _, w := range conf.Warnings {
		a.log.Warn("configuration", slog.String("file", w.File), slog.Int("line", w.Line), slog.String("warning", w.Message))
	}
}

func frontLimits(conf *config.Config) rest.Limits {
	l := conf.Limits
	return rest.Limits{MaxBody: int64(l.Body), MaxConnections: l.Connections, MaxConnectionsPerAddress: l.ConnectionsPerAddress}
}

func callbackPolicy(conf *config.Config) rest.Policy {
	return rest.Policy{Allow: conf.Callbacks.Allow, Timeout: conf.Callbacks.Timeout, CA: conf.Callbacks.CA, Proxy: conf.Callbacks.Proxy}
}
