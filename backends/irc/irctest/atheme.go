package irctest

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// startAtheme starts Atheme's services beside an InspIRCd, with NickServ and SASL. It
// stops when the test ends.
func startAtheme(t testing.TB, dir string, port int) {
	t.Helper()
	path := find(t, "atheme-services")
	write(t, dir, "atheme.conf", lines(`
loadmodule "modules/protocol/inspircd";
loadmodule "modules/backend/opensex";
loadmodule "modules/crypto/pbkdf2v2";
loadmodule "modules/nickserv/main";
loadmodule "modules/nickserv/register";
loadmodule "modules/nickserv/identify";
loadmodule "modules/nickserv/set_core";
loadmodule "modules/nickserv/ghost";
loadmodule "modules/nickserv/cert";
loadmodule "modules/nickserv/enforce";
loadmodule "modules/saslserv/main";
loadmodule "modules/saslserv/plain";
loadmodule "modules/saslserv/external";
serverinfo {
	name = "services.test";
	desc = "services";
	numeric = "00A";
	recontime = 1;
	netname = "Test";
	adminname = "a";
	adminemail = "a@test";
	registeremail = "a@test";
	hidden = no;
	mta = "/bin/true";
	loglevel = { all; };
	maxcertfp = 5;
	maxlogins = 50;
	maxusers = 0;
	mdlimit = 30;
	emaillimit = 100;
	emailtime = 300;
	auth = none;
	casemapping = rfc1459;
};
uplink "irc.test" {
	host = "127.0.0.1";
	port = %d;
	send_password = "%s";
	receive_password = "%s";
};
nickserv { nick = "NickServ"; user = "NickServ"; host = "services.test"; real = "Nickname Services"; };
saslserv { nick = "SaslServ"; user = "SaslServ"; host = "services.test"; real = "SASL"; };
general { commit_interval = 5; };
`, port, servicesPassword, servicesPassword))
	for _, sub := range []string{"db", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 {
			if err := os.Chown(filepath.Join(dir, sub), nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	output, err := os.Create(filepath.Join(dir, "atheme.output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-n", "-c", filepath.Join(dir, "atheme.conf"), "-D", filepath.Join(dir, "db"), //nolint:gosec,noctx // it ends with the test
		"-l", filepath.Join(dir, "atheme.log"), "-p", filepath.Join(dir, "run", "atheme.pid"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = output.Close()
	})
}
