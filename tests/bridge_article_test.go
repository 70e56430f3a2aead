package tests

import (
	"net/http"
	"testing"
)

// TestTheArticlesRequestsWorkAsWritten makes the requests of the article that first
// described this bridge: the token in the body, params, trailing slashes, and the
// result of a call sent to a callback.
func TestTheArticlesRequestsWorkAsWritten(t *testing.T) {
	t.Parallel()
	b := startBridge(t, setup{})
	plain := rest{url: b.URL} // no Authorization header
	token := func(more object) object {
		more["token"] = theToken
		return more
	}
	app := startApp(t, theToken)
	add := func(c callback) response {
		return response{http.StatusOK, "", object{"got": c.Args}}
	}
	raise := func(c callback) response {
		return response{http.StatusInternalServerError, problemType, object{"error": "com.example.error.exception", "args": []any{"boom"}, "kwargs": object{"line": 3}}}
	}

	registered := plain.post(t, "/register/", token(object{"endpoints": object{
		"function_1": app.view("/wamp/rpc/function_1/", add),
		"function_2": app.view("/wamp/rpc/function_2/", raise),
	}})).want(t, http.StatusOK)
	if registered.Registered["function_1"].ID == "" || registered.Registered["function_2"].ID == "" {
		t.Errorf("registered: %+v", registered.Registered)
	}
	subscribed := plain.post(t, "/subscribe/", token(object{"endpoints": object{
		"function_1": app.view("/wamp/pub/function_1/", nil),
		"function_2": app.view("/wamp/pub/function_2/", nil),
	}})).want(t, http.StatusOK)
	if subscribed.Subscribed["function_1"].ID == "" || subscribed.Subscribed["function_2"].ID == "" {
		t.Errorf("subscribed: %+v", subscribed.Subscribed)
	}

	t.Run("a call's result is sent to its callback", func(t *testing.T) {
		started := plain.post(t, "/call/function_1/", token(object{
			"callback": app.view("/wamp/callback/function_1", nil),
			"params":   []any{"param1", "param2"},
		})).want(t, http.StatusAccepted)
		asked := app.next(t, "/wamp/rpc/function_1/")
		equal(t, "type", asked.Type, "invocation")
		equal(t, "procedure", asked.Procedure, "function_1")
		sameJSON(t, "args", asked.Args, raw([]any{"param1", "param2"}))
		got := app.next(t, "/wamp/callback/function_1")
		equal(t, "type", got.Type, "result")
		equal(t, "id", got.ID, text(started.ID))
		equal(t, "procedure", got.Procedure, "function_1")
		sameJSON(t, "result", got.Args, raw([]any{object{"got": []any{"param1", "param2"}}}))
	})
	t.Run("an exception is sent to the callback as error 500", func(t *testing.T) {
		started := plain.post(t, "/call/function_2/", token(object{
			"callback": app.view("/wamp/callback/function_2", nil),
			"params":   []any{"param1", "param2"},
		})).want(t, http.StatusAccepted)
		got := app.next(t, "/wamp/callback/function_2")
		equal(t, "type", got.Type, "error")
		equal(t, "id", got.ID, text(started.ID))
		equal(t, "procedure", got.Procedure, "function_2")
		equal(t, "status", got.Status, http.StatusInternalServerError)
		equal(t, "error", got.Error, "com.example.error.exception")
		sameJSON(t, "args", got.Args, raw([]any{"boom"}))
		sameJSON(t, "kwargs", got.Kwargs, raw(object{"line": 3}))
	})
	t.Run("a call without a callback is answered with the result", func(t *testing.T) {
		got := plain.post(t, "/call/function_1/", token(object{"params": []any{1}})).want(t, http.StatusOK)
		sameJSON(t, "result", got.Args, raw([]any{object{"got": []any{1}}}))
		app.next(t, "/wamp/rpc/function_1/")
	})
	t.Run("an event reaches the URL of its subject", func(t *testing.T) {
		plain.post(t, "/publish/function_2/", token(object{"params": []any{"param1", "param2"}})).want(t, http.StatusOK)
		got := app.next(t, "/wamp/pub/function_2/")
		equal(t, "type", got.Type, "event")
		equal(t, "topic", got.Topic, "function_2")
		sameJSON(t, "args", got.Args, raw([]any{"param1", "param2"}))
		app.none(t, "/wamp/pub/function_1/")
	})
	t.Run("the slash at the end is optional", func(t *testing.T) {
		plain.post(t, "/publish/function_1", token(object{"params": []any{}})).want(t, http.StatusOK)
		app.next(t, "/wamp/pub/function_1/")
	})
	t.Run("functions can be taken back and subjects left", func(t *testing.T) {
		plain.post(t, "/unregister/", token(object{"endpoints": []any{"function_1"}})).want(t, http.StatusOK)
		plain.post(t, "/unsubscribe/", token(object{"endpoints": []any{"function_1", "function_2"}})).want(t, http.StatusOK)
		plain.post(t, "/call/function_1/", token(object{})).want(t, http.StatusNotFound)
	})
	t.Run("a wrong token gets nothing", func(t *testing.T) {
		equal(t, "status", plain.post(t, "/call/function_2/", object{"token": "wrong"}).Status, http.StatusUnauthorized)
	})
}
