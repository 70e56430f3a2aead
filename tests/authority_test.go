package tests

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An app with https and a certificate of a private authority is reached once the
// configuration names the authority's file, and until it no longer does.
func TestPrivateAuthority(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "5") }))
	app.Config.ErrorLog = log.New(io.Discard, "", 0)
	app.StartTLS()
	defer app.Close()
	b := startBridge(t, setup{})
	plain, err := os.ReadFile(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	configure := func(text string) answer {
		t.Helper()
		if err := os.WriteFile(b.Config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return b.post(t, "/reload/", nil)
	}
	b.register(t, object{"com.example.secure": app.URL})
	refused := func() {
		t.Helper()
		if r := b.post(t, "/call/com.example.secure/", object{}).want(t, http.StatusBadGateway); !strings.Contains(r.Detail, "callbacks.ca") {
			t.Errorf("the caller is told: %s", r.Detail)
		}
	}
	refused()
	withCA := strings.Replace(string(plain), "callbacks:\n", "callbacks:\n  ca: authority.pem\n", 1)
	if a := configure(withCA); a.Status < 400 || !strings.Contains(string(a.Body), "there is no file") {
		t.Errorf("a missing file: %d %s", a.Status, a.Body)
	}
	out, err := exec.Command(anybridge, "check", "--config", b.Config).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "anybridge.yaml:") || !strings.Contains(string(out), "ca: there is no file "+filepath.Join(filepath.Dir(b.Config), "authority.pem")) {
		t.Errorf("check says %s, %v", out, err)
	}
	refused()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: app.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(filepath.Dir(b.Config), "authority.pem"), authority, 0o600); err != nil {
		t.Fatal(err)
	}
	if a := configure(withCA); a.Status >= 300 {
		t.Fatalf("reload: %d %s", a.Status, a.Body)
	}
	if r := b.call(t, "com.example.secure", object{}); string(r.Args) != "[5]" {
		t.Errorf("got %s", r.Args)
	}
	if a := configure(string(plain)); a.Status >= 300 {
		t.Fatalf("reload: %d %s", a.Status, a.Body)
	}
	refused()
}
