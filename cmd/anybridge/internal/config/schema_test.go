package config

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("anybridge.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("anybridge.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, text []byte) error {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return err
	}
	return s.Validate(value)
}

// What Load accepts, editors accept.
func TestSchemaAcceptsWhatIsRight(t *testing.T) {
	s := compiledSchema(t)
	for name, text := range map[string]string{
		"example": string(Example()),
		"contract": `
listen: 127.0.0.1:8181
tls: {cert: a.pem, key: b.pem}
data_dir: ./anybridge-data
default_backend: wamp
tokens:
  shop:   {token: "${SHOP_TOKEN}", allow: ["*"]}
  mobile: {hash: "sha256:` + strings.Repeat("0f", 32) + `", allow: ["call:com.shop.*", "publish:irc:#ops", "subscribe:com.shop.*.created", admin], rate: 100, endpoints: 5}
  rotated: {hash: "ab_abcdefgh:sha256:` + strings.Repeat("0f", 32) + `", previous: "sha256:` + strings.Repeat("0f", 32) + `", allow: [], rate: {per_second: 0.5, burst: 10}}
  plain: {token: "${NEW}", previous: the-old-one, allow: [], rate: unlimited, endpoints: unlimited}
limits: {rate: "${RATE}", endpoints: 10000, body: 1048576, connections: 100, connections_per_address: "50"}
audit: {file: audit.log}
engine: {url: "nats://a:4222,nats://b:4222", creds: bridge.creds, ca: ca.pem, name: shop, replicas: 3, durability: disk, max_bytes: 10GiB, max_waiting: 1073741824, keep_dead: 720h, max_calls: "${CALLS}"}
callbacks:
  allow: [127.0.0.0/8, 10.1.0.0/16]
  timeout: 15s
  proxy: "http://proxy:3128"
  ca: ca.pem
backends:
  wamp:  {kind: wamp, router: {listen: "127.0.0.1:8080", path: /ws, realms: [realm1]}}
  plant: {kind: wamp, url: "wss://router.example/ws", realm: plant, auth: {method: wampcra, authid: x, secret: "${S}"}}
  mine:  {plugin: ./anybridge-mqtt, sha256: ` + strings.Repeat("0f", 32) + `, config: {any: [thing]}}
`,
		"audit off":   "audit: off",
		"audit false": "audit: false",
	} {
		if err := validate(t, s, []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Where a mistake is one of shape, editors show it, too.
func TestSchemaRefusesWrongShapes(t *testing.T) {
	s := compiledSchema(t)
	onlyMeaning := []string{"bomb", "control", "backend-check", "listen", "long-line", "which-default", "two-documents", "unsupported-yaml", "environment", "utf8"}
	files, _ := filepath.Glob("testdata/errors/*.yaml")
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if slices.Contains(onlyMeaning, name) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if validate(t, s, text) == nil {
			t.Errorf("%s: the schema accepts it", name)
		}
	}
}
