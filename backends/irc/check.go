package irc

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/anybridge/anybridge/plugins/kit"
)

// CheckConfig finds every mistake in a section of the configuration without opening
// anything. Each line of the error begins with the path of the key that is wrong.
func CheckConfig(section json.RawMessage) error {
	_, err := parseConfig(section)
	return err
}

// check finds every mistake in a completed configuration.
func (c *Config) check(m *kit.Mistakes) {
	if c.Server == "" {
		m.Add("server", `which server to connect to is missing: "irc.example:6697"`)
	} else if host, port, err := net.SplitHostPort(c.Server); err != nil || host == "" || !validPort(port) {
		m.Add("server", `want "host:port"`)
	}
	c.TLS.load(m)
	switch {
	case c.Nick == "":
		m.Add("nick", "which nick to use is missing")
	case !validNick(c.Nick) || strings.ContainsAny(c.Nick[:1], "0123456789-"):
		m.Add("nick", "not a nick")
	}
	word(m, "user", c.User, 32)
	if strings.ContainsAny(c.User, "!@") {
		m.Add("user", "must not have ! or @")
	}
	line(m, "realname", c.Realname)
	line(m, "password", c.Password)
	line(m, "version", c.Version)
	line(m, "quit_message", c.QuitMessage)
	c.checkAccounts(m)
	seen := map[string]bool{}
	for i, ch := range c.Channels {
		key := fmt.Sprintf("channels[%d]", i)
		if ch.Name == "" {
			m.Add(key+".name", "is missing")
			continue
		}
		if err := validChannel(ch.Name, defaultChanTypes); err != nil {
			m.Add(key, "%w", err)
		}
		if ch.Key != "" {
			word(m, key+".key", ch.Key, 64)
		}
		if strings.ContainsAny(ch.Key, ",:") {
			m.Add(key+".key", "must not have a comma or colon")
		}
		if folded := rfc1459.fold(ch.Name); seen[folded] {
			m.Add(key, "this channel is listed twice")
		} else {
			seen[folded] = true
		}
	}
	if c.Formatting != "strip" && c.Formatting != "keep" {
		m.Add("formatting", "want strip or keep")
	}
	if len(c.Commands.Prefix) > 3 || strings.ContainsFunc(c.Commands.Prefix, func(r rune) bool { return r <= ' ' || r > '~' || unicode.IsLetter(r) || unicode.IsDigit(r) }) {
		m.Add("commands.prefix", "want 1 to 3 punctuation characters")
	}
	for key, n := range map[string]int{
		"flood.burst": c.Flood.Burst, "flood.queue": c.Flood.Queue, "commands.rate.burst": c.Commands.Rate.Burst,
		"commands.concurrent": c.Commands.Concurrent, "commands.max_lines": c.Commands.MaxLines, "max_queued_events": c.MaxQueuedEvents,
	} {
		if n < 1 {
			m.Add(key, "must be at least 1")
		}
	}
}

func (c *Config) checkAccounts(m *kit.Mistakes) {
	if s := c.SASL; s != nil {
		switch s.Mechanism {
		case "plain":
			if s.Account == "" || s.Password == "" {
				m.Add("sasl", "mechanism plain needs account and password")
			}
		case "external":
			if c.TLS.Cert == "" {
				m.Add("sasl.mechanism", "external needs a client certificate: tls.cert and tls.key")
			}
			if s.Password != "" {
				m.Add("sasl.password", "mechanism external has none")
			}
		default:
			m.Add("sasl.mechanism", "want plain or external")
		}
		line(m, "sasl.account", s.Account)
		line(m, "sasl.password", s.Password)
	}
	if n := c.NickServ; n != nil {
		word(m, "nickserv.service", n.Service, 100)
		if n.Account != "" {
			word(m, "nickserv.account", n.Account, 100)
		}
		if n.Password == "" {
			m.Add("nickserv.password", "is missing")
		} else {
			word(m, "nickserv.password", n.Password, 300)
		}
		if regain := n.regain(); regain != "" {
			word(m, "nickserv.regain", regain, 32)
		}
	}
}

func validPort(port string) bool {
	n, err := strconv.Atoi(port)
	return err == nil && n > 0 && n < 65536
}

// line checks text that stands at the end of a line.
func line(m *kit.Mistakes, key, text string) {
	if len(text) > 300 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		m.Add(key, "want at most 300 bytes of text without control characters")
	}
}

// word checks text that stands within a line.
func word(m *kit.Mistakes, key, text string, longest int) {
	if text == "" || len(text) > longest || text[0] == ':' || !utf8.ValidString(text) ||
		strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		m.Add(key, "want one word of at most %d bytes that does not begin with a colon", longest)
	}
}
