package session

import (
	"errors"
	"strings"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
)

// TestDamaged drops what somebody else broke, and refuses what the router did.
func TestDamaged(t *testing.T) {
	limits := wire.Limits{MaxDepth: 10, MaxSize: 1 << 20}
	deep := strings.Repeat("[", 20) + strings.Repeat("]", 20)
	for frame, ok := range map[string]bool{
		`[36,1,2,{},` + deep + `]`:         true,
		`[50,1,{},` + deep + `]`:           true,
		`[68,1,2,{},` + deep + `]`:         true,
		`[8,48,1,{},"com.x",` + deep + `]`: true,
		`[33,1,"x"]`:                       false,
		`[17,1]`:                           false,
		`not json`:                         false,
		`[36,1,2,{}`:                       true,
	} {
		msg, err := decode(wire.JSON, []byte(frame), limits)
		if ok != (err == nil) {
			t.Errorf("%s: %v", frame, err)
		}
		if _, is := msg.(*damaged); ok && !is {
			t.Errorf("%s: %T", frame, msg)
		}
	}
}

func TestRedact(t *testing.T) {
	target := Target{Realm: "r", Auth: Auth{Method: Ticket, AuthID: "joe", Ticket: core.Secret("s3cret")}}
	err := aborted(&wamp.Abort{Reason: "wamp.error.authentication_failed", Details: wamp.Dict{"message": "ticket s3cret is wrong"}}, target)
	e, ok := errors.AsType[*core.Error](err)
	if !ok || e.Code != core.Unauthenticated || strings.Contains(e.Error(), "s3cret") || !strings.Contains(e.Error(), "ticket [secret] is wrong") {
		t.Fatalf("error %v", err)
	}
	if strings.Contains(target.Auth.String()+target.Auth.LogValue().String(), "s3cret") {
		t.Fatal("the secret shows")
	}
}
