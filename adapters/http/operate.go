package rest

import (
	"context"
	_ "embed"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Status is the answer of GET /status/.
type Status struct {
	Version       string          `json:"version"`
	Started       time.Time       `json:"started"`
	Backends      []BackendStatus `json:"backends"`
	Registrations int             `json:"registrations"`
	Subscriptions int             `json:"subscriptions"`
	Requests      int64           `json:"requests_now"`
	Callbacks     int64           `json:"callbacks_now"`
	Engine        EngineStatus    `json:"engine"`
	Routes        []Route         `json:"routes,omitempty"`
}

// BackendStatus is one backend and the process behind it.
type BackendStatus struct {
	Name     string            `json:"name"`
	Kind     string            `json:"kind"`
	State    core.State        `json:"state"`
	Reason   string            `json:"reason,omitempty"`
	Listen   []string          `json:"listen,omitempty"`
	Can      core.Capabilities `json:"can"`
	Process  *Process          `json:"process,omitempty"`
	Counters map[string]int64  `json:"counters,omitempty"`
}

// statusPatience bounds the time that a backend has to say how it is.
const statusPatience = time.Second

// reload serves POST /reload/.
func (f *Frontend) reload(x *exchange) error {
	if err := x.bearer(); err != nil {
		return err
	}
	body, err := x.body()
	if err != nil {
		return err
	}
	token, err := decodeToken(body, f.limits.MaxDepth)
	if err != nil {
		return x.hint(err)
	}
	if err := x.identify(token); err != nil {
		return err
	}
	if err := x.admin(); err != nil {
		return err
	}
	if f.o.Reload == nil {
		return core.Errorf(core.Unimplemented, "this bridge runs without a configuration file")
	}
	err = f.o.Reload(x.r.Context())
	x.auditOne("reload", err)
	if err != nil {
		return err
	}
	x.out = append(x.out[:0], `{"reloaded":true}`+"\n"...)
	return x.reply(http.StatusOK, jsonType)
}

// status serves GET /status/.
func (f *Frontend) status(x *exchange) error {
	if err := x.onlyBearer(); err != nil {
		return err
	}
	if err := x.admin(); err != nil {
		return err
	}
	return x.replyJSON(Status{
		Version:       f.o.Version,
		Started:       f.started.UTC(),
		Backends:      f.backends(x.r.Context()),
		Registrations: len(f.o.Bridge.Registrations("")),
		Subscriptions: len(f.o.Bridge.Subscriptions("")),
		Requests:      f.admission.all.Load(),
		Callbacks:     f.o.Callbacks.now.Load(),
		Engine:        f.engineStatus(x.r.Context()),
		Routes:        f.carriers(),
	})
}

// carriers are the configured routes.
func (f *Frontend) carriers() []Route {
	if f.o.Routes == nil {
		return nil
	}
	return f.o.Routes()
}

// backends asks all backends at once how they are.
func (f *Frontend) backends(ctx context.Context) []BackendStatus {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	var processes map[string]Process
	if f.o.Processes != nil {
		processes = f.o.Processes()
	}
	views := f.o.Bridge.Backends()
	out := make([]BackendStatus, len(views))
	var wg sync.WaitGroup
	for i, v := range views {
		out[i] = BackendStatus{Name: v.Name, Kind: v.Info.Kind, Listen: v.Info.Listen, Can: v.Info.Can}
		if p, ok := processes[v.Name]; ok {
			out[i].Process = &p
		}
		wg.Go(func() {
			s, err := v.Backend.Status(ctx)
			if err != nil {
				s = core.Status{State: core.Down, Reason: core.AsError(err).Message}
			}
			out[i].State, out[i].Reason, out[i].Counters = s.State, s.Reason, s.Counters
		})
	}
	wg.Wait()
	return out
}

// healthz serves GET /healthz: the process runs.
func (f *Frontend) healthz(x *exchange) error {
	x.out = append(x.out[:0], `{"status":"ok"}`+"\n"...)
	return x.reply(http.StatusOK, jsonType)
}

// readyz serves GET /readyz: the bridge can be sent requests.
func (f *Frontend) readyz(x *exchange) error {
	if f.draining.Load() {
		return core.Errorf(core.Unavailable, "the bridge is shutting down")
	}
	if f.o.Ready != nil {
		if err := f.o.Ready(); err != nil {
			f.o.Log.Debug("not ready", slog.Any("error", err))
			return core.Errorf(core.Unavailable, "%s", core.AsError(err).Message)
		}
	}
	x.out = append(x.out[:0], `{"status":"ready"}`+"\n"...)
	return x.reply(http.StatusOK, jsonType)
}

//go:embed openapi.json
var openAPIDocument string

// openAPI serves GET /openapi.json: what this file's package serves, as an OpenAPI
// 3.1 document.
func (f *Frontend) openAPI(x *exchange) error {
	x.out = append(x.out[:0], openAPIDocument...)
	return x.reply(http.StatusOK, jsonType)
}

// serveMetrics serves GET /metrics in the formats of Prometheus.
func (f *Frontend) serveMetrics(x *exchange) error {
	x.status = http.StatusOK
	f.metrics.handler.ServeHTTP(x.w, x.r)
	return nil
}
