package redis_test

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/redis"
	"github.com/anybridge/anybridge/backends/redis/redistest"
	"github.com/anybridge/anybridge/core"
)

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	for config, says := range map[string]string{
		`{}`:                                                                      "url: is missing",
		`{"url": 7}`:                                                              "url: want a string",
		`{"url": "localhost:6379"}`:                                               "url: want redis://",
		`{"url": "redis+other://h"}`:                                              "url: want redis://",
		`{"url": "redis://u:s3cret@h:0"}`:                                         "url: a port is",
		`{"url": "redis://u:s3cret@h:70000"}`:                                     "url: a port is",
		`{"url": "redis://u:%s3cret@h"}`:                                          "url: user and password",
		`{"url": "redis://u:s3cret@"}`:                                            "url: a host is missing",
		`{"url": "redis://u:s3cret@a b"}`:                                         "url: a host is missing or malformed",
		`{"url": "redis://u:s3cret@h/x"}`:                                         "url: the database is a number",
		`{"url": "redis://u:s3cret@h,i"}`:                                         "url: several hosts",
		`{"url": "redis://u:s3cret@h?x=1"}`:                                       "url: unknown parameter",
		`{"url": "redis+sentinel://h"}`:                                           "url: the master's name",
		`{"url": "redis+cluster://h/3"}`:                                          "url: a cluster has no database",
		`{"url": "unix://h/x"}`:                                                   "url: a socket is written",
		`{"url": "redis://h", "pasword": "s3cret"}`:                               `pasword: unknown key; did you mean "password"?`,
		`{"url": "redis://h", "sentinel": {"password": "s3cret"}}`:                "sentinel: only with",
		`{"url": "rediss://h", "tls": {"ca": "/nowhere"}}`:                        "tls.ca: open /nowhere",
		`{"url": "rediss://h", "tls": {"cert": "/nowhere"}}`:                      "tls.cert: cert and key belong together",
		`{"url": "redis://h", "format_by_prefix": {"a.": "x"}}`:                   "format_by_prefix.a.:",
		`{"url": "redis://h", "binary": "x"}`:                                     "binary:",
		`{"url": "redis://h", "max_message": -1}`:                                 "max_message: -1 is negative",
		`{"url": "redis://h", "ping_interval": "5"}`:                              "ping_interval: want a duration",
		`{"url": "redis://h", "rpc": {"grace": "0s"}}`:                            "rpc.grace: want a duration",
		`{"url": "redis://h", "streams": {"a": {"maxlen": -5}}}`:                  "streams.a.maxlen:",
		`{"url": "redis://h", "streams": {"a": {"claim_after": "x"}}}`:            "streams.a.claim_after:",
		`{"url": "redis://h", "streams": {"a": {"gruop": "x"}}}`:                  `streams.a.gruop: unknown key; did you mean "group"?`,
		`{"url": "redis://h", "streams": {"a": {"key": "k"}, "b": {"key": "k"}}}`: "streams.b.key:",
	} {
		err := redis.CheckConfig(json.RawMessage(config))
		if core.CodeOf(err) != core.InvalidArgument || !strings.Contains(err.Error(), says) {
			t.Errorf("%s\n\t%v\n\twant %q", config, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s\n\t%v shows the secret", config, err)
		}
	}
	err := redis.CheckConfig(json.RawMessage(`{"url": "x", "format": "x", "rpc": {"timeout": "x"}}`))
	for _, says := range []string{"url:", "format:", "rpc.timeout:"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v\n\twant %q", err, says)
		}
	}
	for _, good := range []string{
		"redis://h", "redis://[::1]:1/3", "redis://::1", "rediss://u:p@h", "redis+sentinel://a,b:1/m/2", "rediss+cluster://a,b,", "unix:///tmp/x?db=2",
	} {
		err := redis.CheckConfig(config(good))
		if strings.HasSuffix(good, ",") != (err != nil) {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func TestReconfigure(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL())
	in := subscribe(t, b, "c", core.Exact)
	if _, err := b.Open(t.Context(), config(s.URL(), settings{"format": "text"})); err != nil {
		t.Fatal(err)
	}
	s.CLI("PUBLISH", "c", "[1]")
	wantArgs(t, take(t, in, 1)[0], "c", `["[1]"]`)
	_, err := b.Open(t.Context(), config(s.URL(), settings{"max_message": 5}))
	wantCode(t, err, core.Unimplemented)
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	s := redistest.Prepare(t)
	path := s.Dir + "/s"
	s.Settings = append(s.Settings, "unixsocket "+path)
	s.Start()
	b := redis.New(slog.New(slog.DiscardHandler))
	if _, err := b.Open(t.Context(), config("unix://"+path+"?db=1", streams(nil))); err != nil {
		t.Fatal(err)
	}
	defer closeBackend(t, b)
	publish(t, b, event("orders", `[1]`))
	if got := s.CLI("-n", "1", "XLEN", "orders"); got != "1" {
		t.Errorf("the stream in database 1 has %s entries", got)
	}
}
