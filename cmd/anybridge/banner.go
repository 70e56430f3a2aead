package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
	"github.com/anybridge/anybridge/core"
)

// banner tells a new user where everything is, and one thing to try. It shows no
// token: the command reads it from where it is kept.
func banner(w io.Writer, a *app) {
	conf, d := a.config, a.door.Load()
	fmt.Fprintf(w, "\nanybridge %s is ready.\n\n", programVersion())
	line := func(what, where string) { fmt.Fprintf(w, "  %-8s %s\n", what, where) }
	line("REST", d.url())
	for _, v := range a.bridge.Backends() {
		where := strings.Join(v.Info.Listen, "  ")
		if where == "" {
			where = "backend of kind " + v.Info.Kind
		}
		if b := a.backends[v.Name]; b != nil {
			where += describe(b.config)
		}
		line(v.Name, where)
	}
	if conf.File == "" {
		line("config", "none, so the defaults (anybridge init writes one)")
	} else {
		line("config", nearPath(conf.File))
	}
	line("data", nearPath(conf.DataDir))
	bearer := ""
	switch {
	case len(conf.Tokens) > 0:
		var names []string
		for _, t := range conf.Tokens {
			names = append(names, t.Name)
			if bearer == "" && t.Variable != "" && t.Grants.Allow(core.VerbPublish, core.Address{Backend: conf.DefaultBackend, Name: tryTopic}) {
				bearer = "$" + t.Variable
			}
		}
		line("tokens", strings.Join(names, ", "))
	case a.o.fromEnv(tokenEnv):
		line("token", "from "+tokenEnv+", with every right")
		bearer = "$" + tokenEnv
	default:
		path := nearPath(filepath.Join(conf.DataDir, tokenFile))
		line("token", path+", with every right")
		bearer = "$(cat " + shellQuote(path) + ")"
	}
	fmt.Fprintf(w, "\nTry it:\n\n  %s\n\n", try(d.url(), bearer))
}

// describe adds what a kind of backend wants people to know.
func describe(conf config.Backend) string {
	if b := findBuiltin(conf.Kind); b != nil && b.describe != nil {
		return "  " + b.describe(conf.Config)
	}
	return ""
}

const tryTopic = "com.example.hello"

// try is a command line that works as pasted into a shell.
func try(url, bearer string) string {
	curl := "curl"
	if strings.HasPrefix(url, "https:") {
		curl += " -k" // the certificate is for the name that clients use
	}
	if bearer == "" {
		return curl + " " + url + "readyz"
	}
	return curl + fmt.Sprintf(` -H "Authorization: Bearer %s" -H 'Content-Type: application/json' -d '{"args": ["world"]}' %spublish/%s/`, bearer, url, tryTopic)
}

func (o appOptions) fromEnv(name string) bool {
	value, ok := o.LookupEnv(name)
	return ok && strings.TrimSpace(value) != ""
}

// nearPath is a path as people write it: relative if it is below the working
// directory.
func nearPath(path string) string {
	dir, err := os.Getwd()
	if err != nil {
		return path
	}
	if near, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(near) {
		return near
	}
	return path
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./-]+$`)

func shellQuote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
