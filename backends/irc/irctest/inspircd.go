package irctest

import (
	"fmt"
	"strings"
	"testing"
)

// Options change how StartInspIRCd configures the server.
type Options struct {
	// Plain leaves out IRCv3: no capabilities that matter.
	Plain bool
	// NoLabels leaves out labeled-response and batch.
	NoLabels bool
	// Strict disconnects who sends too fast: more than 40 lines at once, then 20 per
	// second.
	Strict bool
	// Services links services; see StartAtheme.
	Services bool
}

// linkPort and servicesPassword are between the server and services.
const servicesPassword = "linkpassword"

// StartInspIRCd starts InspIRCd 3 and stops it when the test ends.
func StartInspIRCd(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{path: find(t, "inspircd"), dir: newDir(t)}
	port, tlsPort := FreePort(t), FreePort(t)
	s.Addr, s.TLSAddr = fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", tlsPort)
	var key string
	s.CA, key = certify(t, s.dir, "server")
	s.Cert, s.Key = certify(t, s.dir, "client")

	modules := []string{"ssl_gnutls", "sslinfo", "cap", "botmode", "chghost", "cloaking", "md5"}
	if !o.Plain {
		modules = append(modules, "ircv3", "ircv3_accounttag", "ircv3_capnotify", "ircv3_chghost", "ircv3_ctctags", "ircv3_echomessage", "ircv3_msgid", "ircv3_servertime")
		if !o.NoLabels {
			modules = append(modules, "ircv3_batch", "ircv3_labeledresponse")
		}
	}
	commandRate, flags := 1_000_000, `threshold="100000" fakelag="no"`
	if o.Strict {
		commandRate, flags = 20_000, `threshold="40" fakelag="no"`
	}
	config := lines(`
<config format="xml">
<server name="irc.test" description="test" id="1AA" network="Test">
<admin name="a" nick="a" email="a@test">
<bind address="127.0.0.1" port="%d" type="clients">
<bind address="127.0.0.1" port="%d" type="clients" ssl="gnutls">
<gnutls certfile="%s" keyfile="%s" hash="sha256">
<connect allow="*" timeout="60" pingfreq="120" commandrate="%d" %s softsendq="1048576" hardsendq="10485760" recvq="65536" localmax="1000" globalmax="1000" useident="no" resolvehostnames="no">
<class name="all" commands="*" privs="*" usermodes="*" chanmodes="*">
<type name="oper" classes="all">
<oper name="op" password="op" host="*@*" type="oper">
<cloak mode="half" key="0123456789012345678901234567890123456789">
<options prefixquit="" defaultmodes="not" moronbanner="banned" casemapping="rfc1459">
<security allowcoreunload="no">
<performance softlimit="1000" nouserdns="yes">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="%s/log">
`, port, tlsPort, s.CA, key, commandRate, flags, s.dir)
	if o.Services {
		link := FreePort(t)
		s.restart = func(t testing.TB) { startAtheme(t, s.dir, link) }
		modules = append(modules, "spanningtree", "sasl", "services_account")
		config += lines(`
<bind address="127.0.0.1" port="%d" type="servers">
<link name="services.test" ipaddr="127.0.0.1" port="%d" allowmask="127.0.0.1/32" sendpass="%s" recvpass="%s">
<uline server="services.test" silent="yes">
<sasl target="services.test" requiressl="no">
`, link, link+0, servicesPassword, servicesPassword)
	}
	var load strings.Builder
	for _, m := range modules {
		fmt.Fprintf(&load, "<module name=%q>\n", m)
	}
	write(t, s.dir, "inspircd.conf", config+load.String())
	s.args = []string{"--nofork", "--nopid", "--config", s.dir + "/inspircd.conf"}
	s.run(t)
	return s
}
