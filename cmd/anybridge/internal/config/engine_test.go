package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEngine(t *testing.T) {
	c := load(t, `engine: {url: "nats://a:4222, tls://b", creds: bridge.creds, ca: /ca.pem, name: shop, replicas: 3, max_bytes: 1.5TiB, max_waiting: "${WAITING}", keep_dead: 48h, max_calls: 7}`,
		testOptions(map[string]string{"WAITING": "500 MB"}))
	want := Engine{
		URL: "nats://a:4222, tls://b", Creds: filepath.Join(filepath.Dir(c.File), "bridge.creds"), CA: "/ca.pem", Name: "shop", Replicas: 3,
		MaxBytes: 3 << 39, MaxWaiting: 500_000_000, KeepDead: 48 * time.Hour, MaxCalls: 7,
	}
	if c.Engine != want {
		t.Errorf("got %+v, want %+v", c.Engine, want)
	}
	if c := load(t, "engine: {durability: disk, max_bytes: 67108864}", testOptions(nil)); c.Engine != (Engine{Durability: "disk", MaxBytes: 64 << 20}) {
		t.Errorf("got %+v", c.Engine)
	}
	if c := load(t, "", testOptions(nil)); c.Engine != (Engine{}) {
		t.Errorf("defaults: %+v", c.Engine)
	}
}

func TestEngineWarnings(t *testing.T) {
	for text, want := range map[string]string{
		`engine: {url: "nats://me:s3cr3t@a"}`:         "creds",
		`engine: {url: "nats://a", durability: disk}`: "sync_interval",
	} {
		c := load(t, text, testOptions(nil))
		if got := c.Warnings.Error(); !strings.Contains(got, want) {
			t.Errorf("%s: warnings %s", text, got)
		}
	}
}
