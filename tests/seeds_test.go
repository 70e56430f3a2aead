package tests

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The programs of the articles that anybridge goes back to, written anew, against our
// router: what they do has not changed.

// overWebSocket is how the articles' programs connect.
var overWebSocket = map[string]client{
	"python": {library: "asyncio", transport: "websocket", serializer: "json"},
	"node":   {library: "node", transport: "websocket", serializer: "json"},
}

// TestAComponentAddsAndCountsForOthers is the pair of com.myapp.add2 and
// com.myapp.oncounter, in Twisted and in asyncio.
func TestAComponentAddsAndCountsForOthers(t *testing.T) {
	for backend, frontend := range map[string]string{"twisted": "asyncio", "asyncio": "twisted"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			b := startBridge(t, setup{})
			settings := func(role string) object {
				return overWebSocket["python"].with(b, object{"role": role, "interval": 0.05})
			}
			startProgram(t, "python/counter_"+backend+".py", settings("backend")).awaitOn(t, "ready")

			t.Run("its like uses it", func(t *testing.T) {
				p := startProgram(t, "python/counter_"+backend+".py", settings("frontend"))
				counts(t, p)
			})
			t.Run("the other framework uses it", func(t *testing.T) {
				p := startProgram(t, "python/counter_"+frontend+".py", settings("frontend"))
				counts(t, p)
			})
			t.Run("a web app uses it", func(t *testing.T) {
				sameJSON(t, "2 + 3", b.call(t, "com.myapp.add2", object{"params": []any{2, 3}}).Args, raw([]any{5}))
				app := startApp(t, theToken)
				b.subscribe(t, object{"com.myapp.oncounter": object{"url": app.view("/counter", nil), "ordered": true}})
				last := number(t, app.next(t, "/counter").Args)
				for range 3 {
					next := number(t, app.next(t, "/counter").Args)
					equal(t, "the number after the last", next, last+1)
					last = next
				}
			})
			t.Run("a second one is refused the procedure", func(t *testing.T) {
				p := startProgram(t, "python/counter_"+frontend+".py", settings("backend"))
				equal(t, "error", p.awaitOn(t, "refused").Error, "wamp.error.procedure_already_exists")
			})
		})
	}
}

// counts checks the frontend of the pair: it got its sum and hears every number.
func counts(t *testing.T, p *program) {
	t.Helper()
	sameJSON(t, "sum", p.awaitOn(t, "ready").field("sum"), raw(5))
	last := number(t, p.awaitOn(t, "count").field("number"))
	for range 3 {
		next := number(t, p.awaitOn(t, "count").field("number"))
		equal(t, "the number after the last", next, last+1)
		last = next
	}
}

// number is a number, or the only one in a list.
func number(t *testing.T, text json.RawMessage) int {
	t.Helper()
	var n int
	if err := json.Unmarshal([]byte(strings.Trim(string(text), "[] ")), &n); err != nil {
		t.Fatalf("%s is no number: %v", text, err)
	}
	return n
}

// TestABrowserGameHasItsServerInPython has JavaScript call com.example.move and
// Python hear com.example.message; com.example.kiss is the browser's own procedure.
func TestABrowserGameHasItsServerInPython(t *testing.T) {
	t.Parallel()
	b := startBridge(t, setup{})
	app := startApp(t, theToken)
	b.subscribe(t, object{"com.example.message": app.view("/message", nil)})
	server := startProgram(t, "python/game.py", overWebSocket["python"].with(b, object{"laugh": "Mouarf!"}))
	server.awaitOn(t, "ready")
	player := startProgram(t, "node/game.js", overWebSocket["node"].with(b, object{"name": "Arius"}))
	player.awaitOn(t, "ready")

	moved := server.awaitOn(t, "moved")
	for argument, want := range map[string]any{"x": 3, "y": 5, "z": 0, "mean": "roulades"} {
		sameJSON(t, argument+" of the move", moved.field(argument), raw(want))
	}
	sameJSON(t, "what the move returned", player.awaitOn(t, "moved").field("answer"), raw("Mouarf!"))

	if player.awaitOn(t, "said").Publication == 0 {
		t.Error("the message was not acknowledged")
	}
	heard := server.awaitOn(t, "heard")
	sameJSON(t, "text", heard.field("text"), raw("Hello everybody"))
	sameJSON(t, "author", heard.field("author"), raw("Arius"))
	sameJSON(t, "args at the app", app.next(t, "/message").Args, raw([]any{"Hello everybody", "Arius"}))
	// By default nobody hears what they say themselves.
	b.publish(t, "com.example.message", object{"args": []any{"Hi", "the web"}})
	sameJSON(t, "author of the first message that the player hears", player.awaitOn(t, "heard").field("author"), raw("the web"))

	for kind, want := range map[string]bool{"baveux": false, "tendre": true} {
		got := b.call(t, "com.example.kiss", object{"args": []any{"Salim"}, "kwargs": object{"type": kind}})
		sameJSON(t, "a kiss of type "+kind, got.Args, raw([]any{want}))
		kissed := player.awaitOn(t, "kissed")
		sameJSON(t, "args of the kiss", kissed.Args, raw([]any{"Salim"}))
		sameJSON(t, "kwargs of the kiss", kissed.Kwargs, raw(object{"type": kind}))
	}
	b.publish(t, "com.example.position", object{"args": []any{1, 2}, "kwargs": object{"who": "Salim"}})
	position := player.awaitOn(t, "position")
	sameJSON(t, "position", position.Args, raw([]any{1, 2}))
	sameJSON(t, "who is there", position.Kwargs, raw(object{"who": "Salim"}))

	// z can be given, by name or by place, and mean left out.
	b.call(t, "com.example.move", object{"args": []any{1, 2, 3}})
	moved = server.awaitOn(t, "moved")
	sameJSON(t, "z", moved.field("z"), raw(3))
	sameJSON(t, "mean", moved.field("mean"), raw(nil))
	b.call(t, "com.example.move", object{"kwargs": object{"y": 2, "x": 1, "z": 4}})
	sameJSON(t, "z by name", server.awaitOn(t, "moved").field("z"), raw(4))
}

// TestPagesCallAndInformEachOther has several JavaScript clients: one is called, all
// that subscribed are told, and who publishes gets nothing back.
func TestPagesCallAndInformEachOther(t *testing.T) {
	t.Parallel()
	b := startBridge(t, setup{})
	page := func(t *testing.T, role string) *program {
		return startProgram(t, "node/page.js", overWebSocket["node"].with(b, object{"role": role}))
	}
	t.Run("one page calls another and learns who answered", func(t *testing.T) {
		callee := page(t, "callee")
		agent := callee.awaitOn(t, "ready").field("agent")
		caller := page(t, "caller")
		sameJSON(t, "who answered", caller.awaitOn(t, "answered").field("agent"), agent)
		sameJSON(t, "what the page shows", callee.awaitOn(t, "shown").field("message"), raw("I called baby !"))
		sameJSON(t, "who answers the web", b.call(t, "callMeMaybe", object{"params": []any{"hello"}}).Args, raw([]json.RawMessage{agent}))
	})
	t.Run("every page that subscribed is told, and the publisher gets nothing back", func(t *testing.T) {
		app := startApp(t, theToken)
		b.subscribe(t, object{"fascinatingSubject": app.view("/news", nil)})
		var pages []*program
		for range 3 {
			pages = append(pages, page(t, "subscriber"))
		}
		for _, p := range pages {
			p.awaitOn(t, "ready")
		}
		publisher := page(t, "publisher")
		sameJSON(t, "what publishing returns", publisher.awaitOn(t, "published").field("returned"), raw("nothing"))
		for _, p := range pages {
			sameJSON(t, "what a page shows", p.awaitOn(t, "shown").field("message"), raw("Amazing !"))
		}
		sameJSON(t, "what the app is told", app.next(t, "/news").Args, raw([]any{"Amazing !"}))
	})
}

const feed = `<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0"><channel><title>Techno</title>
<item><title>A quest</title><link>http://feed.example/1</link><description>Far away</description></item>
<item><title>Épisode deux</title><link>http://feed.example/2</link><description>Nearer</description></item>
</channel></rss>
`

// TestATriggerCarriesFeedItemsToNotes is the chain from RSS to Evernote: four
// procedures and a topic between two components; and again with the second one a
// plain web application.
func TestATriggerCarriesFeedItemsToNotes(t *testing.T) {
	for name, keeper := range map[string]string{
		"between two components": "python/evernote.py",
		"to a web application":   "python/evernote_web.py",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBridge(t, setup{})
			dir := t.TempDir()
			path := filepath.Join(dir, "feed.xml")
			if err := os.WriteFile(path, []byte(feed), 0o600); err != nil {
				t.Fatal(err)
			}
			settings := overWebSocket["python"].with(b, object{"database": filepath.Join(dir, "triggers.db"),
				"feed": path, "bridge": b.URL, "token": theToken})
			evernote := startProgram(t, keeper, settings)
			sameJSON(t, "procedures of Evernote", evernote.awaitOn(t, "ready").field("procedures"), raw(3))
			rss := startProgram(t, "python/rss.py", settings)
			sameJSON(t, "procedures of RSS", rss.awaitOn(t, "ready").field("procedures"), raw(1))

			// The notes of the one due trigger, in the feed's order. An HTTP app is sent
			// both events at once, so they may be written in any order.
			notes := map[string]int{}
			for range 2 {
				saved := evernote.awaitOn(t, "saved")
				sameJSON(t, "what save returns", saved.field("answer"), raw(nil))
				var all []map[string]string
				if err := json.Unmarshal(saved.field("notes"), &all); err != nil {
					t.Fatal(err)
				}
				for _, note := range all {
					sameJSON(t, "where the note went", raw([]string{note["notebook"], note["tag"], note["token"]}), raw([]string{"Reading", "rss", "token-of-7"}))
					notes[note["title"]+" "+note["link"]]++
				}
			}
			for _, title := range []string{"A quest http://feed.example/1", "Épisode deux http://feed.example/2"} {
				if notes[title] == 0 {
					t.Errorf("no note %q among %v", title, notes)
				}
			}
			if len(notes) != 2 {
				t.Errorf("notes %v, want 2", notes)
			}

			// The procedures answer the web as well.
			var feeds []struct {
				TriggerID int `json:"trigger_id"`
				UserID    int `json:"user_id"`
				Data      []map[string]string
			}
			if err := json.Unmarshal(b.call(t, "eu.trigger-happy.rss.feeds_url", object{}).Args, &[]any{&feeds}); err != nil {
				t.Fatal(err)
			}
			if len(feeds) != 1 || feeds[0].TriggerID != 1 || feeds[0].UserID != 7 || len(feeds[0].Data) != 2 || feeds[0].Data[0]["title"] != "A quest" {
				t.Errorf("due feeds: %+v", feeds)
			}
			sameJSON(t, "token", b.call(t, "eu.trigger-happy.evernote.token", object{"args": []any{7}}).Args, raw([]any{[]any{"token-of-7"}}))
			sameJSON(t, "trigger", b.call(t, "eu.trigger-happy.evernote.trigger", object{"args": []any{1}}).Args,
				json.RawMessage(`[{"notebook":"Reading","tag":"rss","description":"news to notes"}]`))
			if a := b.post(t, "/call/eu.trigger-happy.evernote.save/", object{"args": []any{object{
				"trigger_id": 1, "user_id": 7, "item": object{"title": "By hand", "link": "http://web.example/"}}}}); a.Status != http.StatusOK {
				t.Errorf("save by HTTP: %d %s", a.Status, a.Body)
			}
		})
	}
}
