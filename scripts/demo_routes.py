"""Starts a bridge with routes between WAMP, Redis, IRC and XMPP, servers of each, a Flask app
and clients that know nothing of each other, and shows each message where it arrives. See
scripts/demo-routes, which runs this.

Ends with 0 if all were seen. Everything is on free ports and in a folder that is removed.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from browser import Browser
from demo import PYTHON, ROOT, WEATHER, Demo, eventually, run
from programs import PATIENCE, Failure, Program, Programs, main

ROUTES = ROOT / "examples" / "routes"
DOMAIN = "fields.example"
ROOM = f"orders@rooms.{DOMAIN}"


class Routes(Demo):
    """The servers, the bridge and everybody else, started and told of each other."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        self._programs = programs
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("ANYBRIDGE_")}
        self._env["PYTHONUNBUFFERED"] = "1"
        self._folder = folder

        self.redis = self._redis()
        self.irc = self._irc()
        self.password = secrets.token_hex()
        self.xmpp = self._xmpp()
        config = (ROUTES / "anybridge.yaml").read_text()
        if self.xmpp:
            config = re.sub(r"(?m)^  #(?=xmpp:|  |- )", "  ", config)
        (folder / "anybridge.yaml").write_text(config)

        token = secrets.token_urlsafe()
        serve = [str(ROOT / "bin" / "anybridge"), "serve", "--config", "anybridge.yaml"]
        ports = {"REST_PORT": 0, "WAMP_PORT": 0, "REDIS_PORT": self.redis, "IRC_PORT": self.irc}
        env = {name: str(port) for name, port in ports.items()}
        env |= {"WEATHER_TOKEN": token, "XMPP_PORT": str(self.xmpp), "XMPP_PASSWORD": self.password}
        bridge = self._start("bridge", serve, folder, env)
        self.rest = bridge.wait_for(r"REST +(http://\S+)")[1]
        self.wamp = bridge.wait_for(r"wamp +(ws://\S+)")[1]

        self.weather_url, _ = self._web_app(
            "weather",
            ["weather:create_app()", "--workers=1", "--threads=4"],
            WEATHER,
            {"ANYBRIDGE_TOKEN": token},
            before=[["anybridge", "sync"]],
            tool=[PYTHON, "-m", "flask", "--app", "weather:create_app"],
        )
        station = self._start("station", [PYTHON, "station.py", self.wamp], WEATHER, {})
        station.wait_for("ready")
        self.ann = self.chat("ann", "irc", self.irc, "ann", "#tractors,#orders")
        for channel in ("#tractors", "#orders"):
            self.ann.wait_for(f"is in {channel}")
        self.room: Program | None = None
        if self.xmpp:
            self.room = self.chat("room", "xmpp", self.xmpp, "joe", self.password, ROOM)
            self.room.wait_for("is in")
        listen = ["redis-cli", "-p", str(self.redis), "PSUBSCRIBE", "positions.*"]
        self.listener = self._start("redis-cli", listen, folder, {})
        self.listener.wait_for("psubscribe")

    def chat(self, name: str, *arguments: object) -> Program:
        """A client of examples/routes/chat.py."""
        return self._start(name, [PYTHON, "chat.py", *map(str, arguments)], ROUTES, {})

    def field(self) -> Program:
        return self._start("field", [PYTHON, "field.py", self.wamp], ROUTES, {})

    def order(self, text: str) -> None:
        """Publishes with redis-cli."""
        run(["redis-cli", "-p", str(self.redis), "PUBLISH", "orders", text], ROUTES, self._env)

    def _redis(self) -> int:
        port = free_port()
        command = [need("redis-server"), "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
        self._server("redis-server", command, port)
        return port

    def _irc(self) -> int:
        port = free_port()
        config = self._folder / "ngircd.conf"
        config.write_text(
            "[Global]\nName = irc.fields.example\nInfo = demo\nListen = 127.0.0.1\n"
            f"Ports = {port}\nPidFile =\nMotdPhrase = hello\n"
            "[Limits]\nMaxPenaltyTime = 0\n[Options]\nDNS = no\nIdent = no\nPAM = no\n"
        )
        self._server("ngircd", [need("ngircd"), "--nodaemon", "--config", str(config)], port)
        return port

    def _xmpp(self) -> int:
        """Starts Prosody. Returns 0 if it is not installed."""
        prosody = find("prosody")
        if not prosody:
            print("Prosody is not installed: this goes on without XMPP.")
            return 0
        port, data = free_port(), self._folder / "prosody"
        accounts = data / DOMAIN.replace(".", "%2e") / "accounts"
        accounts.mkdir(parents=True)
        for name in ("bridge", "joe"):
            (accounts / f"{name}.dat").write_text(f'return {{ ["password"] = "{self.password}" }};')
        config = self._folder / "prosody.cfg.lua"
        config.write_text(
            f'run_as_root = true; data_path = "{data}"; pidfile = "{data}/pid"\n'
            'modules_enabled = { "saslauth", "disco", "ping", "presence", "message", "iq", "c2s" }\n'
            'modules_disabled = { "s2s" }; interfaces = { "127.0.0.1" }\n'
            f"c2s_ports = {{ {port} }}; c2s_direct_tls_ports = {{}}; s2s_ports = {{}}\n"
            "http_ports = {}; https_ports = {}; component_ports = {}\n"
            'c2s_require_encryption = false; authentication = "internal_plain"\n'
            'allow_unencrypted_plain_auth = true; log = "*console"\n'
            f'VirtualHost "{DOMAIN}"\nComponent "rooms.{DOMAIN}" "muc"\nmuc_room_locking = false\n'
        )
        self._server("prosody", [prosody, "-F", "--config", str(config)], port)
        return port

    def _server(self, name: str, command: list[str], port: int) -> None:
        self._start(name, command, self._folder, {})
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                if time.monotonic() > end:
                    raise Failure(f"{name} does not listen") from None
                time.sleep(0.05)
            else:
                return


def find(program: str) -> str | None:
    """Debian has servers where the PATH of people who are not root does not look."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def need(program: str) -> str:
    if path := find(program):
        return path
    raise Failure(f"{program} is not installed: scripts/servers does that")


def free_port() -> int:
    """A port that the system gives to no client."""
    while True:
        port = random.randrange(20000, 32000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def tour(demo: Routes) -> None:
    """Sends messages and follows them. Raises ``Failure`` for one that is not seen."""
    eventually(Browser(demo.weather_url + "paris/"), r'"celsius":\d')

    def seen(way: str, program: Program, pattern: str) -> None:
        print(f"   {way + ':':24} {program.wait_for(pattern)[0]}", flush=True)

    print("1. A WAMP component says where two tractors are; one of them moves.")
    field = demo.field()
    seen("WAMP", field, r"com\.app\.position red .*")
    seen("IRC", demo.ann, "#tractors <fields> red is moving.*")
    seen("Redis, positions.red", demo.listener, "^red is moving.*")
    field.wait_for("ready")

    print("2. redis-cli PUBLISH orders '2 tea'")
    demo.order("2 tea")
    seen("IRC", demo.ann, "#orders <fields> 2 tea.*")
    seen("WAMP", field, "com.app.orders 2 tea.*")
    if demo.room:
        seen("XMPP", demo.room, f"{ROOM} <[^>]*> 2 tea.*")

    print("3. Somebody on IRC asks the Flask app.")
    demo.chat("bob", "irc", demo.irc, "bob", "#tractors", "!weather Paris")
    seen("IRC", demo.ann, "#tractors <bob> .*")
    seen("IRC", demo.ann, "#tractors <fields> bob: .*2[01].*°C.*")

    if "blue" in demo.ann.tail() + demo.listener.tail():
        raise Failure("the tractor that stands still was told of")
    print("All were seen.")


def stay(demo: Routes) -> None:
    """Shows what arrives, until somebody interrupts."""
    print(
        f"\n  IRC     irssi -c 127.0.0.1 -p {demo.irc} -n you     then: /join #tractors"
        f"\n          or /connect 127.0.0.1 {demo.irc} in another client; say !weather Paris"
        f"\n  Redis   redis-cli -p {demo.redis} PUBLISH orders '3 coffee'"
        f"\n  WAMP    {demo.wamp}  realm1, topic com.app.position"
    )
    if demo.xmpp:
        print(f"  XMPP    127.0.0.1:{demo.xmpp}, joe@{DOMAIN}, {demo.password}, {ROOM}")
    print(f"  bridge  {demo.rest}\n\nCtrl-C stops all of it.\n", flush=True)
    for program in (demo.ann, demo.listener, demo.room):
        if program:
            program.echo = True
    signal.pause()


def show(programs: Programs, folder: Path) -> Callable[[], None]:
    print("Starting Redis, an IRC server, Prosody, a bridge, a Flask app and clients.")
    os.chmod(folder, 0o755)  # ngIRCd gives up root's rights
    demo = Routes(programs, folder)
    tour(demo)
    return lambda: stay(demo)


if __name__ == "__main__":
    sys.exit(main("demo-routes", show))
