package config

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// load reads a configuration that must be right.
func load(t *testing.T, text string, o Options) *Config {
	t.Helper()
	o.File = filepath.Join(t.TempDir(), "anybridge.yaml")
	if err := os.WriteFile(o.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	for name, text := range map[string]string{"no file": "-", "empty": "", "comments": "# nothing\n", "empty map": "{}"} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(nil)
			var c *Config
			if text == "-" {
				var err error
				if c, err = Load(o); err != nil {
					t.Fatal(err)
				}
			} else {
				c = load(t, text, o)
			}
			loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
			if c.Listen != "127.0.0.1:8181" || c.DefaultBackend != "wamp" || c.Tokens != nil ||
				c.Callbacks.Timeout != 15*time.Second || !reflect.DeepEqual(c.Callbacks.Allow, loopback) ||
				len(c.Backends) != 1 || c.Backends[0].Name != "wamp" || !strings.Contains(string(c.Backends[0].Config), "127.0.0.1:8080") {
				t.Errorf("got %+v", c)
			}
			if filepath.Base(c.DataDir) != "anybridge-data" || !filepath.IsAbs(c.DataDir) {
				t.Errorf("data_dir %s", c.DataDir)
			}
		})
	}
}

func TestLoopbackIsAllowedOnlyWhileListenIsLoopback(t *testing.T) {
	if c := load(t, "listen: 0.0.0.0:8181", testOptions(nil)); c.Callbacks.Allow != nil {
		t.Errorf("allow %v", c.Callbacks.Allow)
	}
	o := testOptions(nil)
	o.Listen = ":0"
	if c := load(t, "", o); c.Callbacks.Allow != nil || c.Listen != ":0" {
		t.Errorf("allow %v, listen %s", c.Callbacks.Allow, c.Listen)
	}
	if c := load(t, "listen: localhost:0\ncallbacks: {allow: []}", testOptions(nil)); c.Callbacks.Allow != nil {
		t.Errorf("allow %v", c.Callbacks.Allow)
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	c := load(t, "data_dir: ../data\nbackends: {wamp: {kind: wamp, router: {tls: {cert: ./c.pem, key: /k.pem}}}}", testOptions(nil))
	if want := filepath.Join(filepath.Dir(filepath.Dir(c.File)), "data"); c.DataDir != want {
		t.Errorf("data_dir %s, want %s", c.DataDir, want)
	}
	if want := `{"router":{"tls":{"cert":"` + filepath.Join(filepath.Dir(c.File), "c.pem") + `","key":"/k.pem"}}}`; string(c.Backends[0].Config) != want {
		t.Errorf("section %s, want %s", c.Backends[0].Config, want)
	}
}

func TestTokens(t *testing.T) {
	c := load(t, `
tokens:
  shop:   {token: "${SHOP_TOKEN}", allow: ["*"]}
  mobile: {hash: "sha256:`+strings.Repeat("ab", 32)+`", allow: ["call:com.shop.*", "publish:plant:x"]}
  dev:    {token: short, allow: []}
backends:
  wamp:  {kind: wamp}
  plant: {kind: wamp}
`, testOptions(map[string]string{"SHOP_TOKEN": "a token of some length"}))
	if len(c.Tokens) != 3 || c.Tokens[0].Name != "shop" || c.Tokens[0].Hash != core.HashToken("a token of some length") || c.Tokens[0].Variable != "SHOP_TOKEN" {
		t.Errorf("tokens %+v", c.Tokens)
	}
	if c.Tokens[1].Hash[0] != 0xab || !c.Tokens[1].Grants.Allow(core.VerbPublish, core.Address{Backend: "plant", Name: "x"}) {
		t.Errorf("token %+v", c.Tokens[1])
	}
	if len(c.Warnings) != 1 || c.Warnings[0].Line != 5 || strings.Contains(c.Warnings.Error(), "short,") {
		t.Errorf("warnings %v", c.Warnings)
	}
}

// What a backend gets is what was written: numbers digit by digit, keys in order,
// and values from the environment as text, whatever they look like.
func TestBackendSectionsAreExact(t *testing.T) {
	c := load(t, `
backends:
  wamp:
    kind: wamp
    z: &z [9007199254740993, 123456789012345678901234567890, 1.50, -0, 1e400, +5, 0x10, 0o17]
    a: [true, False, ~, null, "", yes, 2020-01-01, "5", '5']
    env: ["${YAML}", $$HOME, $5, "${UNSET:-d: e}", "${EMPTY:-x}", "<${YAML}>"]
    again: *z
    text: |
      one
      two
    "quoted key": {1: 2, true: no}
`, testOptions(map[string]string{"YAML": "{a: [1]}\n${YAML}", "EMPTY": ""}))
	want := `{"z":[9007199254740993,123456789012345678901234567890,1.50,-0,1e400,5,16,15],` +
		`"a":[true,false,null,null,"","yes","2020-01-01","5","5"],` +
		`"env":["{a: [1]}\n${YAML}","$HOME","$5","d: e","x","<{a: [1]}\n${YAML}>"],` +
		`"again":[9007199254740993,123456789012345678901234567890,1.50,-0,1e400,5,16,15],` +
		`"text":"one\ntwo\n","quoted key":{"1":2,"true":"no"}}`
	if got := string(c.Backends[0].Config); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPlugin(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := load(t, "backends: {mine: {plugin: "+program+", sha256: "+strings.Repeat("AB", 32)+", config: {server: x}}}", testOptions(nil))
	b := c.Backends[0]
	if b.Plugin != program || b.SHA256 != strings.Repeat("ab", 32) || string(b.Config) != `{"server":"x"}` || c.DefaultBackend != "mine" {
		t.Errorf("got %+v", c)
	}
}

func TestMissingFile(t *testing.T) {
	o := testOptions(nil)
	o.File = "no-such-file.yaml"
	if _, err := Load(o); err == nil || !strings.Contains(err.Error(), "anybridge init") {
		t.Errorf("got %v", err)
	}
}

func TestExampleIsRight(t *testing.T) {
	c := load(t, string(Example()), testOptions(nil))
	d := load(t, "", testOptions(nil))
	c.File, d.File, c.DataDir, d.DataDir = "", "", "", ""
	if !reflect.DeepEqual(c, d) {
		t.Errorf("the example says %+v, the defaults are %+v", c, d)
	}
	// The commented parts are right, too, but for what only the reader can know.
	text := regexp.MustCompile(`(?m)^( *)#(\S|  )`).ReplaceAllString(string(Example()), "$1$2")
	text = strings.NewReplacer("sha256:…", "sha256:"+strings.Repeat("ab", 32), "…", strings.Repeat("ab", 32),
		"./anybridge-mqtt", os.Args[0], "tls: {", "#", "ca: ca.pem", "").Replace(text)
	c = load(t, text, testOptions(map[string]string{"SHOP_TOKEN": "a token of some length", "PLANT_SECRET": "x"}))
	if len(c.Tokens) != 2 || len(c.Backends) != 3 || c.Callbacks.Proxy == nil || len(c.Callbacks.Allow) != 2 {
		t.Errorf("the commented parts say %+v", c)
	}
}

// The loader takes any text without a panic, shows no secret, and what it accepts
// is valid JSON for the backends.
func FuzzLoad(f *testing.F) {
	files, _ := filepath.Glob("testdata/errors/*.yaml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add(Example())
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 4096 {
			return
		}
		o := testOptions(map[string]string{"A": "b", "SHOP_TOKEN": "s3cr3t"})
		o.Kinds["wamp"] = Kind{}
		c, mistakes := parse(text, "/", o)
		if (c == nil) == (len(mistakes) == 0) {
			t.Fatalf("config %v, mistakes %v", c, mistakes)
		}
		_ = mistakes.Error()
		if c == nil {
			return
		}
		for _, b := range c.Backends {
			if b.Config != nil && !json.Valid(b.Config) {
				t.Errorf("backend %s: not JSON: %s", b.Name, b.Config)
			}
			if bytes.ContainsRune(b.Config, 0) {
				t.Errorf("backend %s: a NUL", b.Name)
			}
		}
	})
}
