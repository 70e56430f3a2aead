package roles

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
)

// startHTTPForwarder is the floor of every call: what somebody would write by
// hand instead of using a bridge. It reads a call as JSON, POSTs it on to the
// one place it knows and wraps the answer. No token, no names, no options.
func startHTTPForwarder(ctx context.Context, flags *flag.FlagSet, args []string) (*role, error) {
	to := flags.String("to", "", "URL")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	c := newPoster(*to)
	return serveHTTP(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var p payload
		if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		value, err := c.post(r.Context(), p)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		writeJSON(w, payload{Args: []any{value}})
	}))
}

// poster POSTs payloads to one URL over connections that it keeps.
type poster struct {
	url    string
	client *http.Client
}

func newPoster(url string) *poster {
	return &poster{url: url, client: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 1024,
		DisableCompression:  true,
	}}}
}

// post returns the answer's JSON value, or nil for an empty one. Numbers stay as
// they are: a float64 would not print as the callee wrote it.
func (c *poster) post(ctx context.Context, p payload) (any, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		return nil, fmt.Errorf("status %d: %s", res.StatusCode, body)
	}
	if len(body) == 0 {
		return nil, nil
	}
	var value json.Number
	if err := json.Unmarshal(body, &value); err != nil {
		return nil, err
	}
	return value, nil
}
