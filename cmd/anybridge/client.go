package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
	"github.com/anybridge/anybridge/core"
)

// maxAnswer bounds what the client reads of an answer, in bytes.
const maxAnswer = 64 << 20

// problemPrefix is in front of the code in a problem's type.
const problemPrefix = "urn:anybridge:error:"

// client talks to the REST API of a running bridge.
type client struct {
	base  string // without a final slash
	token string
	http  *http.Client
}

// clientFlags are the flags of all commands that talk to a running bridge.
type clientFlags struct {
	url, token string
}

func (f *clientFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "url", "", "where the bridge is (default $ANYBRIDGE_URL, else http://"+config.DefaultListen+")")
	cmd.Flags().StringVar(&f.token, "token", "", "the token (default $ANYBRIDGE_TOKEN, else what ./"+config.DefaultDataDir+"/token holds, for a bridge on this machine)")
}

// client makes a client of the flags and the environment.
func (f *clientFlags) client(cmd *cobra.Command, c cli) (*client, error) {
	address := f.url
	if address == "" {
		address = c.env("ANYBRIDGE_URL")
	}
	if address == "" {
		address = "http://" + config.DefaultListen
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usageError{cmd: cmd, message: fmt.Sprintf("%q is not a URL such as http://127.0.0.1:8181", address)}
	}
	token := f.token
	if token == "" {
		token = strings.TrimSpace(c.env(tokenEnv))
	}
	if token == "" && loopbackHost(u.Hostname()) { // it is sent to nobody else unasked
		if text, err := os.ReadFile(filepath.Join(config.DefaultDataDir, tokenFile)); err == nil {
			token = strings.TrimSpace(string(text))
		}
	}
	return &client{
		base:  strings.TrimRight(address, "/"),
		token: token,
		http: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the token is for this server
		}},
	}, nil
}

func loopbackHost(host string) bool {
	return config.Loopback(net.JoinHostPort(host, "0"))
}

// post sends a request whose body is an object, and returns the answer's body.
func (c *client) post(ctx context.Context, path string, body map[string]any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return c.do(ctx, http.MethodPost, path, &b)
}

func (c *client) get(ctx context.Context, path string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, path, nil)
}

// do returns the body of a 2xx answer; anything else is a *core.Error. The end of
// ctx closes the request, which cancels a call.
func (c *client) do(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, core.Errorf(core.InvalidArgument, "make the request: %w", err)
	}
	request.Header.Set("User-Agent", "anybridge-cli/"+programVersion())
	request.Header.Set("Accept", "application/json, application/problem+json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if response.StatusCode/100 == 2 {
		return bytes.TrimSpace(answer), nil
	}
	return nil, c.problem(response, answer)
}

// unreachable says why there was no answer.
func (c *client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return core.AsError(ctx.Err())
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return core.Errorf(core.Unavailable, "no bridge answers at %s: is it running (anybridge serve)? --url or ANYBRIDGE_URL says where it is (%w)", c.base, op.Err)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return core.Errorf(core.Unavailable, "ask %s: %w", c.base, err)
}

// problem reads an error answer (RFC 9457).
func (c *client) problem(response *http.Response, answer []byte) error {
	var p struct {
		Type   string          `json:"type"`
		Title  string          `json:"title"`
		Detail string          `json:"detail"`
		Error  string          `json:"error"`
		Args   json.RawMessage `json:"args"`
		Kwargs json.RawMessage `json:"kwargs"`
	}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	code, ours := "", false
	if kind == "application/problem+json" && json.Unmarshal(answer, &p) == nil {
		code, ours = strings.CutPrefix(p.Type, problemPrefix)
	}
	if !ours {
		return core.Errorf(core.Internal, "%s answered %s, which is not an answer of anybridge: is the URL right?", c.base, response.Status)
	}
	if p.Detail == "" {
		p.Detail = p.Title
	}
	return &core.Error{Code: core.Code(code), Message: p.Detail, URI: p.Error, Payload: core.Payload{Args: p.Args, Kwargs: p.Kwargs}}
}
