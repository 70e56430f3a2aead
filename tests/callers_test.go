package tests

import (
	"context"
	"net/http"
	"strings"
	"testing"

	nexus "github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// An app learns which token called or published, and on whose behalf if that token may
// say so. Nobody else can write it.
func TestAppsLearnWhoCalls(t *testing.T) {
	b := startBridge(t, setup{tokens: map[string]string{"site": "the-token-of-the-site"}, users: true})
	site := rest{url: b.url, token: "the-token-of-the-site"}
	a := startApp(t, theToken)
	b.register(t, object{"com.app.echo": a.view("/echo", echo)})
	b.subscribe(t, object{"com.app.news": a.view("/news", nil)})

	site.post(t, "/call/com.app.echo/", object{"args": []any{1}, "user": "alice"}).want(t, http.StatusOK)
	d := a.next(t, "/echo").details(t)
	equal(t, "token of the caller", d.CallerToken, "site")
	equal(t, "user", d.CallerUser, "alice")
	equal(t, "authid of the caller", d.CallerAuthID, "site")

	site.post(t, "/call/com.app.echo/", object{}).want(t, http.StatusOK) // without arguments, too
	d = a.next(t, "/echo").details(t)
	equal(t, "token of the caller", d.CallerToken, "site")
	equal(t, "user that was not stated", d.CallerUser, "")

	caller := startApp(t, site.token) // the outcome is signed with the key of who called
	outcome := caller.view("/outcome", nil)
	site.post(t, "/call/com.app.echo/", object{"user": "bob", "callback": outcome}).want(t, http.StatusAccepted)
	equal(t, "user of a call with a callback", a.next(t, "/echo").details(t).CallerUser, "bob")
	caller.next(t, "/outcome")

	site.publish(t, "com.app.news", object{"args": []any{"hello"}})
	equal(t, "token of the publisher", a.next(t, "/news").details(t).PublisherToken, "site")

	refused := b.post(t, "/call/com.app.echo/", object{"user": "alice"}).want(t, http.StatusForbidden)
	if !strings.Contains(refused.Detail, "users: true") {
		t.Errorf("the refusal does not say what to do: %s", refused.Detail)
	}
	for _, user := range []any{"", "a\nb", strings.Repeat("x", 256), 7} {
		site.post(t, "/call/com.app.echo/", object{"user": user}).want(t, http.StatusBadRequest)
	}
	a.none(t, "/echo")

	// A WAMP client that claims to be somebody is not believed.
	stranger := connectNexus(t, b.WS, "json")
	claim := wamp.Dict{"caller_token": "site", "caller_user": "alice", "caller_authid": "site"}
	if _, err := stranger.Call(deadline(t), "com.app.echo", claim, wamp.List{1}, claim, nil); err != nil {
		t.Fatal(err)
	}
	d = a.next(t, "/echo").details(t)
	equal(t, "claimed token", d.CallerToken, "")
	equal(t, "claimed user", d.CallerUser, "")
	if d.CallerAuthID == "site" || d.Caller != uint64(stranger.ID()) {
		t.Errorf("caller: %+v", d)
	}
}

// A WAMP component sees the token of an app that calls it, as if the app had joined the
// realm with it.
func TestComponentsLearnWhichTokenCalls(t *testing.T) {
	b := startBridge(t, setup{tokens: map[string]string{"site": "the-token-of-the-site"}, users: true})
	component := connectNexus(t, b.WS, "json")
	seen := make(chan wamp.Dict, 1)
	who := func(_ context.Context, inv *wamp.Invocation) nexus.InvokeResult {
		seen <- inv.Details
		return nexus.InvokeResult{}
	}
	if err := component.Register("com.component.who", who, nil); err != nil {
		t.Fatal(err)
	}
	site := rest{url: b.url, token: "the-token-of-the-site"}
	site.post(t, "/call/com.component.who/", object{"user": "alice"}).want(t, http.StatusOK)
	details := <-seen
	equal(t, "authid", details["caller_authid"], any("site"))
	equal(t, "authrole", details["caller_authrole"], any("token"))
	equal(t, "user", details["caller_user"], any("alice"))
}
