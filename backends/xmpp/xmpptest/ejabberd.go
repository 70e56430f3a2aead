package xmpptest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// StartEjabberd starts an ejabberd; see Starter.
func StartEjabberd(t testing.TB, options ...Options) *Server {
	t.Helper()
	script, erl := find("ejabberdctl"), find("erl")
	if script == "" || erl == "" {
		Missing(t, "ejabberd is not installed: run scripts/servers")
	}
	// The script itself would change to another user, and start Erlang's name server.
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	libraries := regexp.MustCompile(`(?m)^ERL_LIBS='(.*)'$`).FindSubmatch(text)
	if libraries == nil {
		t.Fatalf("%s does not say where ejabberd's libraries are", script)
	}
	return start(t, &ejabberd{erl: erl, libraries: string(libraries[1])}, options)
}

// ejabberd runs without a node name, so that it needs no name server and talks to no
// other Erlang.
type ejabberd struct {
	erl, libraries string

	mu  sync.Mutex // one account after the other
	in  io.Writer
	out *bufio.Reader
}

// ejabberdAccounts is a program in Erlang. It makes an account of each line that it reads,
// and has it on the disk before it answers. It ends ejabberd when the tests are gone.
const ejabberdAccounts = `Loop = fun(Again) ->
  case io:get_line("") of
    Line when is_list(Line) ->
      [Name, Password] = [list_to_binary(S) || S <- string:lexemes(Line, " \n")],
      Result = ejabberd_auth:try_register(Name, <<"` + Domain + `">>, Password),
      dets:sync(passwd),
      io:format("account ~0p~n", [Result]),
      Again(Again);
    _ -> halt()
  end
end, spawn(fun() -> Loop(Loop) end).`

func (e *ejabberd) config(s *Server, o Options) error {
	management, tls := "", "    starttls_required: true\n    starttls: true\n"
	if !o.NoStreamManagement {
		management = "  mod_stream_mgmt: {}\n"
	}
	if o.Plaintext {
		tls = ""
	}
	// As with Prosody, everybody in a room has a voice until it is moderated, and the tests'
	// accounts may publish to each other's nodes.
	text := fmt.Sprintf(`hosts: [%[1]q]
loglevel: info
log_rotate_count: 0
certfiles: [%[2]q, %[3]q]
ca_file: %[4]q
acme: {auto: false}
s2s_access: none
auth_method: internal
listen:
  -
    module: ejabberd_c2s
    ip: "127.0.0.1"
    port: %[5]s
%[6]s  -
    module: ejabberd_c2s
    ip: "127.0.0.1"
    port: %[7]s
    tls: true
modules:
  mod_adhoc: {}
  mod_caps: {}
  mod_disco: {}
  mod_offline: {}
  mod_ping: {}
  mod_roster: {}
%[8]s  mod_muc:
    host: %[9]q
    default_room_options: {moderated: false}
  mod_pubsub:
    host: %[10]q
    plugins: [flat, pep]
    default_node_config: {publish_model: open}
`, Domain, s.dir+"/cert.pem", s.dir+"/key.pem", s.CA, port(s.Addr), tls, port(s.Direct), management, Rooms, PubSub)
	for name, text := range map[string]string{"ejabberd.yml": text, "inetrc": `{lookup, ["file"]}.` + "\n"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (e *ejabberd) command(s *Server) (*exec.Cmd, error) {
	cmd := exec.CommandContext(context.Background(), e.erl, //nolint:gosec // found in PATH
		"-noshell", "+sbwt", "none", "-mnesia", "dir", fmt.Sprintf("%q", s.dir+"/spool"),
		"-ejabberd", "quiet", "true", "-s", "ejabberd", "-eval", ejabberdAccounts)
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "ERL_LIBS="+e.libraries, "ERL_INETRC="+s.dir+"/inetrc",
		"ERL_CRASH_DUMP="+s.dir+"/crash", "EJABBERD_CONFIG_PATH="+s.dir+"/ejabberd.yml", "EJABBERD_LOG_PATH="+s.dir+"/log")
	cmd.Dir = s.dir
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	e.in, e.out = in, bufio.NewReader(out)
	return cmd, err
}

func (e *ejabberd) account(_ *Server, name, password string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := fmt.Fprintf(e.in, "%s %s\n", name, password); err != nil {
		return err
	}
	for {
		line, err := e.out.ReadString('\n')
		if err != nil {
			return err
		}
		switch result, ok := strings.CutPrefix(strings.TrimSpace(line), "account "); {
		case !ok: // a warning, perhaps
		case result == "ok", result == "{error,exists}":
			return nil
		default:
			return fmt.Errorf("ejabberd answers %s", result)
		}
	}
}
