package tests

import (
	"context"
	"io"
	stdlog "log"
	"net/url"
	"sync"
	"testing"

	nexus "github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/transport/serialize"
	"github.com/gammazero/nexus/v3/wamp"
)

// connectNexus joins realm1 with nexus' client.
func connectNexus(t testing.TB, address, serializer string) *nexus.Client {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if u.Scheme == "rs" {
		u.Scheme = "tcp" // what nexus calls RawSocket
	}
	serialization := map[string]serialize.Serialization{
		"json": serialize.JSON, "msgpack": serialize.MSGPACK, "cbor": serialize.CBOR}[serializer]
	session, err := nexus.ConnectNet(deadline(t), u.String(), nexus.Config{
		Realm: "realm1", Serialization: serialization, ResponseTimeout: patience,
		Logger: stdlog.New(io.Discard, "", 0)})
	if err != nil {
		t.Fatalf("join with nexus' client: %v", err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// nexusComponent does with nexus' client what the client programs do.
type nexusComponent struct {
	*lines
	name       string
	serializer string
	session    *nexus.Client
	mu         sync.Mutex
	cancel     map[int]context.CancelFunc // of calls, by order
}

// startNexus starts the component within this process.
func startNexus(t testing.TB, self *component, settings object) {
	t.Helper()
	n := &nexusComponent{lines: newLines(), name: self.name, serializer: self.serializer, cancel: map[int]context.CancelFunc{}}
	n.session = connectNexus(t, settings["url"].(string), self.serializer)
	for suffix, procedure := range map[string]nexus.InvocationHandler{
		".echo": n.echo, ".describe": n.describe, ".refuse": n.refuse, ".crash": n.crash,
		".who": n.who, ".hang": n.hang, ".count": n.count} {
		if err := n.session.Register(n.name+suffix, procedure, wamp.Dict{wamp.OptDiscloseCaller: true}); err != nil {
			t.Fatal(err)
		}
	}
	for suffix, match := range map[string]string{".family": wamp.MatchPrefix, "..leaf": wamp.MatchWildcard} {
		if err := n.session.Register(n.name+suffix, n.who, wamp.Dict{wamp.OptMatch: match}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []struct{ label, suffix, match string }{
		{"news", ".news", wamp.MatchExact}, {"wire", ".wire", wamp.MatchPrefix}, {"sport", "..sport", wamp.MatchWildcard}} {
		if err := n.session.Subscribe(n.name+s.suffix, n.receiver(s.label, n.name+s.suffix), wamp.Dict{wamp.OptMatch: s.match}); err != nil {
			t.Fatal(err)
		}
	}
	authid, _ := wamp.AsString(n.session.RealmDetails()["authid"])
	n.tell(line{On: "ready", Session: uint64(n.session.ID()), AuthID: authid})
	self.lines = n.lines
	self.send = func(o order) error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		n.mu.Lock()
		n.cancel[o.ID] = cancel
		n.mu.Unlock()
		go func() {
			defer cancel()
			n.obey(ctx, o)
		}()
		return nil
	}
}

func (n *nexusComponent) tell(l line) {
	l.raw = raw(l)
	n.add(l)
}

func (n *nexusComponent) echo(_ context.Context, i *wamp.Invocation) nexus.InvokeResult {
	return nexus.InvokeResult{Args: i.Arguments, Kwargs: i.ArgumentsKw}
}

func (n *nexusComponent) describe(_ context.Context, i *wamp.Invocation) nexus.InvokeResult {
	return nexus.InvokeResult{Args: wamp.List{wamp.List{describe(plain(i.Arguments)), describe(plain(i.ArgumentsKw))}}}
}

func (n *nexusComponent) refuse(_ context.Context, i *wamp.Invocation) nexus.InvokeResult {
	return nexus.InvokeResult{Err: "com.example.error.refused", Args: i.Arguments, Kwargs: i.ArgumentsKw}
}

func (n *nexusComponent) crash(context.Context, *wamp.Invocation) nexus.InvokeResult {
	return nexus.InvokeResult{Err: "wamp.error.runtime_error", Args: wamp.List{"the program broke"}}
}

func (n *nexusComponent) who(_ context.Context, i *wamp.Invocation) nexus.InvokeResult {
	procedure := i.Details["procedure"]
	if procedure == nil {
		procedure = n.name + ".who" // told only where it is not the registered one
	}
	return nexus.InvokeResult{Args: wamp.List{wamp.Dict{"procedure": procedure, "caller": i.Details["caller"],
		"caller_authid": i.Details["caller_authid"], "caller_authrole": i.Details["caller_authrole"]}}}
}

func (n *nexusComponent) hang(ctx context.Context, i *wamp.Invocation) nexus.InvokeResult {
	n.tell(line{On: "hanging", Args: tagged(plain(i.Arguments))})
	<-ctx.Done()
	n.tell(line{On: "cancelled", Args: tagged(plain(i.Arguments))})
	return nexus.InvocationCanceled
}

func (n *nexusComponent) count(ctx context.Context, i *wamp.Invocation) nexus.InvokeResult {
	to, _ := wamp.AsInt64(i.Arguments[0])
	for k := range to {
		if n.session.SendProgress(ctx, wamp.List{k + 1}, nil) != nil {
			break // the caller did not ask for progress
		}
	}
	return nexus.InvokeResult{Args: wamp.List{to}}
}

func (n *nexusComponent) receiver(label, topic string) nexus.EventHandler {
	return func(e *wamp.Event) {
		l := line{On: "event", Subscription: label, Topic: topic, Publication: uint64(e.Publication),
			Args: tagged(plain(e.Arguments)), Kwargs: tagged(plain(e.ArgumentsKw)), Text: describe(plain(e.Arguments))}
		if concrete, ok := wamp.AsString(e.Details["topic"]); ok {
			l.Topic = concrete
		}
		if publisher, ok := wamp.AsID(e.Details["publisher"]); ok {
			l.Publisher = uint64(publisher)
		}
		l.PublisherAuthID, _ = wamp.AsString(e.Details["publisher_authid"])
		l.Retained, _ = wamp.AsBool(e.Details["retained"])
		n.tell(l)
	}
}

func (n *nexusComponent) obey(ctx context.Context, o order) {
	args, _ := wamp.AsList(untag(o.Args, n.serializer))
	kwargs, _ := wamp.AsDict(untag(o.Kwargs, n.serializer))
	options := wamp.Dict{}
	for key, v := range o.Options {
		options[key] = v
	}
	switch o.Do {
	case "call":
		var progress nexus.ProgressHandler
		if options["receive_progress"] == true {
			progress = func(r *wamp.Result) {
				n.tell(line{On: "progress", ID: o.ID, Args: tagged(plain(r.Arguments)), Kwargs: tagged(plain(r.ArgumentsKw))})
			}
		}
		result, err := n.session.Call(ctx, o.URI, options, args, kwargs, progress)
		if err != nil {
			n.tellError(o, err)
			return
		}
		n.tell(line{On: "result", ID: o.ID, Args: tagged(plain(result.Arguments)), Kwargs: tagged(plain(result.ArgumentsKw)),
			Text: describe(plain(result.Arguments))})
	case "publish":
		options["acknowledge"] = true
		if err := n.session.Publish(o.URI, options, args, kwargs); err != nil {
			n.tellError(o, err)
			return
		}
		n.tell(line{On: "published", ID: o.ID}) // the client does not tell the publication's id
	case "cancel":
		n.mu.Lock()
		defer n.mu.Unlock()
		n.cancel[o.Call]()
	}
}

func (n *nexusComponent) tellError(o order, err error) {
	l := line{On: "error", ID: o.ID, Error: err.Error()}
	if rpc, ok := err.(nexus.RPCError); ok { //nolint:errorlint // the client returns it bare
		l.Error = string(rpc.Err.Error)
		l.Args, l.Kwargs = tagged(plain(rpc.Err.Arguments)), tagged(plain(rpc.Err.ArgumentsKw))
	}
	n.tell(l)
}

// plain turns nexus' types into those of encoding/json.
func plain(v any) any {
	switch v := v.(type) {
	case wamp.List:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	case wamp.Dict:
		dict := make(map[string]any, len(v))
		for key := range v {
			dict[key] = plain(v[key])
		}
		return dict
	case map[string]any:
		return plain(wamp.Dict(v))
	case []any:
		return plain(wamp.List(v))
	}
	return v
}
