package irc_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/irc"
)

func TestCheckConfig(t *testing.T) {
	good := []string{
		`{"server":"irc.example","nick":"bridge"}`,
		`{"server":"irc.example:6667","tls":false,"nick":"[b]","channels":["#a",{"name":"#b","key":"k"}],"flood":{"interval":"0s"}}`,
		`{"server":"[::1]:6697","tls":{"insecure":true},"nick":"b","sasl":{"account":"a","password":"p"},"nickserv":{"password":"p","regain":""}}`,
	}
	for _, section := range good {
		if err := irc.CheckConfig(json.RawMessage(section)); err != nil {
			t.Errorf("%s: %v", section, err)
		}
	}
	err := irc.CheckConfig(json.RawMessage(`{
		"server": "x:y", "nick": "a b", "nik": 1, "tls": {"ca": "/nowhere", "insecur": true}, "user": "x\r\nQUIT", "realname": 7,
		"sasl": {"mechanism": "external", "password": "hush"}, "nickserv": {"service": "a b"},
		"channels": ["ops", "#a,b", {"name": "#c", "key": "x y"}, "#d", "#D", {"nam": "#e"}],
		"flood": {"burst": -1, "interval": "fast"}, "commands": {"prefix": "ab", "rate": {"burst": "x"}}, "formatting": "html", "quit_message": "a\nb"
	}`))
	if err == nil {
		t.Fatal("no mistake found")
	}
	for _, key := range []string{
		"server:", "nick:", "nik:", "tls.ca:", "tls.insecur:", "user:", "realname:", "sasl.mechanism:", "sasl.password:", "nickserv.service:",
		"nickserv.password:", "channels[0]:", "channels[1]:", "channels[2].key:", "channels[4]:", "channels[5].nam:", "flood.burst:", "flood.interval:",
		"commands.prefix:", "commands.rate.burst:", "formatting:", "quit_message:",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+key) {
			t.Errorf("nothing about %s", key)
		}
	}
	if strings.Contains(err.Error(), "hush") {
		t.Error("a password shows")
	}
	if t.Failed() {
		t.Log(err)
	}
}
