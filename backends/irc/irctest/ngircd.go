package irctest

import (
	"fmt"
	"testing"
)

// StartNgIRCd starts ngIRCd, a small server with few of IRCv3's capabilities, and
// stops it when the test ends.
func StartNgIRCd(t testing.TB) *Server {
	t.Helper()
	s := &Server{path: find(t, "ngircd"), dir: newDir(t)}
	port := FreePort(t)
	s.Addr = fmt.Sprintf("127.0.0.1:%d", port)
	write(t, s.dir, "ngircd.conf", lines(`
[Global]
Name = irc.test
Info = test
Listen = 127.0.0.1
Ports = %d
PidFile =
MotdPhrase = "hello"
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxNickLength = 16
MaxPenaltyTime = 0
PingTimeout = 120
PongTimeout = 60
[Options]
DNS = no
Ident = no
PAM = no
SyslogFacility = local1
[Operator]
Name = op
Password = op
`, port))
	s.args = []string{"--nodaemon", "--passive", "--config", s.dir + "/ngircd.conf"}
	s.run(t)
	return s
}
