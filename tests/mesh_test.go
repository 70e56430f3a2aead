package tests

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/xmpp/xmpptest"
)

// everyone are people on four systems, and an app that hears them all over HTTP.
type everyone struct {
	bridge    *bridge
	addresses []string // where they speak, one on each system
	listeners map[string]func(t testing.TB) string
	speakers  map[string]func(text string) // by the address at which they speak
}

// meet lets people with clients of their own meet at four addresses that are linked, all
// with all. Each hears what is said on its system, by itself, too.
func meet(t *testing.T) *everyone {
	t.Helper()
	const channel, room = "#mesh", "mesh@" + xmpptest.Rooms
	s := startSystems(t)
	autobahn := client{library: "asyncio", transport: "websocket", serializer: "json"}
	topic := "com.tests.asyncio.websocket.json.news" // to which the component is subscribed
	e := &everyone{addresses: []string{"wamp:" + topic, "irc:" + channel, "redis:mesh", "xmpp:" + room}}
	e.bridge = startBridge(t, setup{more: s.backends(t) + fmt.Sprintf("routes:\n  - {name: mesh, between: [%q, %q, %q, %q]}\n",
		e.addresses[0], e.addresses[1], e.addresses[2], e.addresses[3])})

	component := autobahn.start(t, e.bridge)
	alice, ear := onIRC(t, s.irc, "alice", channel), onIRC(t, s.irc, "ear", channel)
	redis := listenOnRedis(t, s.redis, "mesh")
	slix := inRoom(t, s.xmpp, "slix", room)
	e.listeners = map[string]func(testing.TB) string{
		e.addresses[0]: func(t testing.TB) string { return text(raw(untagged(t, component.event(t, "news").Args))) },
		e.addresses[1]: func(t testing.TB) string { return nextOnIRC(t, ear, channel) },
		e.addresses[2]: func(t testing.TB) string { return redis.next(t).text() },
		e.addresses[3]: func(t testing.TB) string { text, _ := nextOnXMPP(t, slix); return text },
	}
	e.speakers = map[string]func(string){
		e.addresses[0]: func(text string) {
			component.publish(t, topic, []any{text}, nil, object{"exclude_me": false})
		},
		e.addresses[1]: func(text string) { alice.Send("PRIVMSG %s :%s", channel, text) },
		e.addresses[2]: func(text string) { s.redis.CLI("PUBLISH", "mesh", text) },
		e.addresses[3]: func(text string) { slix.Do(t, "send_text", object{"to": room, "type": "groupchat", "body": text}) },
	}

	app, endpoints := startApp(t, theToken), object{}
	for i, address := range e.addresses {
		path := fmt.Sprintf("/%d", i)
		endpoints[address] = object{"url": app.view(path, nil), "ordered": true}
		e.listeners["app at "+address] = func(t testing.TB) string { return onlyArg(t, app.next(t, path)) }
	}
	e.bridge.subscribe(t, endpoints)
	return e
}

// untagged is the only argument of what a client program tells, a text.
func untagged(t testing.TB, args []byte) string {
	t.Helper()
	list, ok := untag(args, "json").([]any)
	if !ok || len(list) != 1 {
		t.Fatalf("the component hears %s", args)
	}
	return fmt.Sprint(list[0])
}

// Everybody speaks at the same time, and each text is heard once on each system, and by
// an app at each address. What an app publishes is no different: routes carry it, once,
// to each of the others.
func TestEveryPairOfBackendsLinkedBothWays(t *testing.T) {
	const many = 50
	e := meet(t)
	var all, barriers []string
	said := map[string]int{} // by address
	var speaking sync.WaitGroup
	for i, address := range e.addresses {
		person, app := texts(fmt.Sprintf("person %d", i), many), texts(fmt.Sprintf("app at %d", i), many/5)
		all, said[address] = append(append(all, person...), app...), len(person)+len(app)
		speaking.Go(func() {
			for _, text := range person {
				e.speakers[address](text)
			}
		})
		speaking.Go(func() {
			for _, text := range app {
				answer, err := e.bridge.send(t.Context(), http.MethodPost, "/publish/"+inPath(address)+"/", object{"args": []any{text}})
				if err != nil || answer.Status != http.StatusOK {
					t.Errorf("the app's publish to %s: %d %s %v", address, answer.Status, answer.Body, err)
				}
			}
		})
	}
	started := time.Now()
	speaking.Wait()
	heard := map[string][]string{}
	for name, next := range e.listeners {
		heard[name] = listen(t, next, nil, all)
	}
	t.Logf("%d texts were heard by %d in %s", len(all), len(e.listeners), time.Since(started).Round(time.Millisecond))

	// What comes twice, or goes round, comes before the next text on the same way: so a
	// last one goes every way.
	for i, address := range e.addresses {
		person, app := fmt.Sprintf("person %d: that is all", i), fmt.Sprintf("app at %d: that is all", i)
		e.speakers[address](person)
		e.bridge.publish(t, inPath(address), object{"args": []any{app}})
		barriers = append(barriers, person, app)
		said[address] += 2
	}
	for name, next := range e.listeners {
		heard[name] = listen(t, next, heard[name], barriers)
		onceAndInOrder(t, name, heard[name], append(all[:len(all):len(all)], barriers...))
	}
	eventually(t, "the routes have carried what was said, each once", func() error {
		routes := e.bridge.status(t).Routes
		if len(routes) != 12 {
			return fmt.Errorf("%d routes", len(routes))
		}
		for _, r := range routes {
			if r.Carried != int64(said[r.From]) || r.Filtered+r.Dropped+r.Refused+r.Failed+r.Braked != 0 {
				return fmt.Errorf("%+v, and %d were said", r, said[r.From])
			}
		}
		return nil
	})
}

// texts are n numbered texts of a speaker.
func texts(speaker string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s: %03d", speaker, i)
	}
	return all
}

// listen hears until it has heard all that is wanted, and returns everything.
func listen(t testing.TB, next func(testing.TB) string, heard, wanted []string) []string {
	t.Helper()
	missing := map[string]bool{}
	for _, text := range wanted {
		missing[text] = true
	}
	for len(missing) > 0 {
		text := next(t)
		heard = append(heard, text)
		delete(missing, text)
	}
	return heard
}

// onceAndInOrder fails the test unless each text was heard once, and those of one speaker
// in the order in which it said them.
func onceAndInOrder(t testing.TB, name string, heard, said []string) {
	t.Helper()
	count, last := map[string]int{}, map[string]string{}
	for _, text := range heard {
		count[text]++
		who, _, _ := strings.Cut(text, ":")
		if text < last[who] {
			t.Errorf("%s hears %q after %q", name, text, last[who]) // numbers sort before letters
		}
		last[who] = text
	}
	for _, text := range said {
		if count[text] != 1 {
			t.Errorf("%s hears %q %d times", name, text, count[text])
		}
		delete(count, text)
	}
	for text := range count {
		t.Errorf("%s hears %q, which nobody said", name, text)
	}
}

// A topic of WAMP is heard in a channel of IRC, a room of XMPP and on channels of Redis,
// in words and only where it matters; what people and scripts say there reaches WAMP.
func TestTopicsInChannelsAndBack(t *testing.T) {
	s := startSystems(t)
	b := startBridge(t, setup{more: s.backends(t) + `routes:
  - from: wamp:com.app.position
    to: ["irc:#tractors", "redis:positions.{{ args[0].name }}", "xmpp:tractors@rooms.xmpp.test"]
    when: args[0].speed > 10
    text: "{{ args[0].name }} is moving"
  - from: irc:#tractors
    to: wamp:com.app.remark
    when: text startsWith "red"
    args: "[details.publisher, text]"
  - from: redis:orders.
    match: prefix
    to: wamp:com.app.order
    when: args[0].amount > 0
    args: "[]"
    kwargs: "{channel: topic, amount: args[0].amount}"
  - {from: "xmpp:tractors@rooms.xmpp.test", to: "wamp:com.app.remark", text: "{{ details.publisher }}: {{ text }}"}
`})
	ann := onIRC(t, s.irc, "ann", "#tractors")
	redis := listenOnRedis(t, s.redis, "positions.*")
	slix := s.xmpp.Client(t, "slix")
	slix.Do(t, "join", object{"room": "tractors@" + xmpptest.Rooms, "nick": "sue"})
	component := connectNexus(t, b.WS, "json")
	heard := make(chan *wamp.Event, 100)
	for _, topic := range []string{"com.app.remark", "com.app.order"} {
		if err := component.Subscribe(topic, func(e *wamp.Event) { heard <- e }, nil); err != nil {
			t.Fatal(err)
		}
	}

	for _, position := range []wamp.Dict{{"name": "blue", "speed": 5}, {"name": "red", "speed": 12}, {"name": "green", "speed": 30}} {
		if err := component.Publish("com.app.position", wamp.Dict{"acknowledge": true}, wamp.List{position}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"red", "green"} {
		want := name + " is moving"
		equal(t, "on IRC", nextOnIRC(t, ann, "#tractors"), want)
		message := redis.next(t)
		equal(t, "channel of Redis", message.channel, "positions."+name)
		equal(t, "on Redis", message.text(), want)
		said, from := nextOnXMPP(t, slix)
		equal(t, "on XMPP", said, want)
		equal(t, "who says so", from, "tractors@"+xmpptest.Rooms+"/"+bridgeNick)
	}

	next := func() *wamp.Event {
		t.Helper()
		select {
		case e := <-heard:
			return e
		case <-time.After(patience):
			t.Fatal("WAMP hears nothing")
			return nil
		}
	}
	ann.Send("PRIVMSG #tractors :good morning")
	ann.Send("PRIVMSG #tractors :red, stop")
	equal(t, "a remark on IRC", fmt.Sprint(next().Arguments), "[ann red, stop]")
	s.redis.CLI("PUBLISH", "orders.none", `{"amount": 0}`)
	s.redis.CLI("PUBLISH", "orders.north", `{"amount": 3}`)
	order := next()
	equal(t, "an order on Redis", fmt.Sprintln(order.Arguments, order.ArgumentsKw["channel"], order.ArgumentsKw["amount"]), "[] orders.north 3\n")
	slix.Do(t, "send_text", object{"to": "tractors@" + xmpptest.Rooms, "type": "groupchat", "body": "who drives?"})
	equal(t, "a remark on XMPP", fmt.Sprint(next().Arguments), "[sue: who drives?]")
}
