package main

import (
	"os"
	"path/filepath"
	"testing"
)

// What was registered outlives a restart, as far as the token that registered it
// still allows it.
func TestRestartsKeepWhatTokensAllow(t *testing.T) {
	const held = "sub wamp:com.shop.order, reg wamp:com.shop.add"
	shop := func(line string) string {
		return configuration(map[string]string{"admin": everything(adminToken), "shop": line})
	}
	for name, test := range map[string]struct{ line, want string }{
		"nothing changed":      {everything(shopToken), held},
		"another secret":       {everything(otherToken), ""},
		"the secret moved on":  {`{token: ` + otherToken + `, previous: ` + shopToken + `, allow: ["*"]}`, held},
		"only calls":           {`{token: ` + shopToken + `, allow: ["call:*"]}`, ""},
		"only this procedure":  {`{token: ` + shopToken + `, allow: ["register:com.shop.add"]}`, "reg wamp:com.shop.add"},
		"and all other topics": {`{token: ` + shopToken + `, allow: ["register:*", "subscribe:com.other.*"]}`, "reg wamp:com.shop.add"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a := newTestAppIn(t, dir, shop(everything(shopToken)))
			a.start()
			a.post("/subscribe/", shopToken, `{"endpoints": {"com.shop.order": "http://127.0.0.1:1/"}}`, 200)
			a.post("/register/", shopToken, `{"endpoints": {"com.shop.add": "http://127.0.0.1:1/"}}`, 200)
			if got := a.held("shop"); got != held {
				t.Fatalf("before the restart the token holds %q", got)
			}
			a.halt()

			a = newTestAppIn(t, dir, shop(test.line))
			a.start()
			if got := a.held("shop"); got != test.want {
				t.Errorf("after the restart the token holds %q, want %q", got, test.want)
			}
			a.halt()
			info, err := os.Stat(filepath.Join(dir, "data", secretsFile))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", secretsFile, info, err)
			}
		})
	}
}
