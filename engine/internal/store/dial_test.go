package store

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// external starts a server on loopback and returns its URL.
func external(t *testing.T, o *server.Options) string {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog, o.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, true, t.TempDir()
	srv, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not come up")
	}
	return srv.ClientURL()
}

func TestErrorsSayWhatToDo(t *testing.T) {
	off := external(t, &server.Options{})
	closed := external(t, &server.Options{Authorization: "secret", JetStream: true})
	forbidden := external(t, &server.Options{JetStream: true, Users: []*server.User{{
		Username: "u", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.>"}}},
	}}})
	alone := external(t, &server.Options{JetStream: true})
	for name, test := range map[string]struct {
		c    Config
		want string
	}{
		"no server":         {Config{URL: "nats://127.0.0.1:1"}, "check the address"},
		"no JetStream":      {Config{URL: off}, "JetStream is not on"},
		"no credentials":    {Config{URL: closed}, "engine.creds"},
		"no permission":     {Config{URL: strings.Replace(forbidden, "://", "://u:p@", 1)}, "$JS.API"},
		"too many replicas": {Config{URL: alone, Replicas: 3}, "engine.replicas"},
	} {
		t.Run(name, func(t *testing.T) {
			test.c.Log = slog.New(slog.DiscardHandler)
			s, err := Open(t.Context(), test.c)
			if err == nil {
				s.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestOldServersAreRefused(t *testing.T) {
	for version, old := range map[string]bool{"2.9.25": true, "2.10.0": true, "2.11.0": false, "2.15.2": false, "3.0.0": false, "1.4.1": true, "dev": false} {
		if err := checkServer(version); (err != nil) != old {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestWhatTheOperatorChangedStays(t *testing.T) {
	url := external(t, &server.Options{JetStream: true})
	c := Config{URL: url, Log: slog.New(slog.DiscardHandler)}
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.streams[Dead].Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	changed := info.Config
	changed.MaxBytes = 1 << 30
	if _, err := s.js.UpdateStream(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if s, err = Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.streams[Dead].CachedInfo().Config; got.MaxBytes != 1<<30 || got.AllowDirect {
		t.Errorf("configuration = %+v", got)
	}
}
