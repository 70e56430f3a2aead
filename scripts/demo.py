"""Starts a bridge, a Django site, a Flask app and two WAMP components, places an order at
the site, and shows each message where it arrives. See scripts/demo, which runs this.

Ends with 0 if all were seen. Everything is on free ports and in a folder that is removed.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from browser import Browser
from programs import PATIENCE, Failure, Program, Programs, main

ROOT = Path(__file__).resolve().parent.parent
SHOP = ROOT / "examples" / "django-shop"
WEATHER = ROOT / "examples" / "flask-weather"
PYTHON = sys.executable


class Demo:
    """The programs, started and told of each other."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        self._programs = programs
        # No anybridge settings of whoever runs this.
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("ANYBRIDGE_")}
        self._env["PYTHONUNBUFFERED"] = "1"
        shop, weather, ticket = (secrets.token_urlsafe() for _ in range(3))
        tokens = {"SHOP_TOKEN": shop, "WEATHER_TOKEN": weather, "WAREHOUSE_TICKET": ticket}

        serve = [str(ROOT / "bin" / "anybridge"), "serve", "--config", str(SHOP / "anybridge.yaml")]
        serve += ["--listen", "127.0.0.1:0", "--data-dir", str(folder / "bridge")]
        bridge = self._start("bridge", serve, folder, {**tokens, "WAMP_PORT": "0"})
        self.rest = bridge.wait_for(r"REST +(http://\S+)")[1]
        self.wamp = bridge.wait_for(r"wamp +(ws://\S+)")[1]

        self.url, self.site = self._web_app(
            "site",
            ["shopsite.wsgi", "--workers=2", "--preload"],
            SHOP,
            {"ANYBRIDGE_TOKEN": shop, "SHOP_DATABASE": str(folder / "shop.sqlite3")},
            before=[["migrate", "--verbosity=0"], ["createcachetable"], ["anybridge_sync"]],
            tool=[PYTHON, "manage.py"],
        )
        # One worker: the app keeps what was measured in its memory.
        self.weather_url, self.weather = self._web_app(
            "weather",
            ["weather:create_app()", "--workers=1", "--threads=4"],
            WEATHER,
            {"ANYBRIDGE_TOKEN": weather},
            before=[["anybridge", "sync"]],
            tool=[PYTHON, "-m", "flask", "--app", "weather:create_app"],
        )
        self.warehouse = self._start(
            "warehouse",
            [PYTHON, "warehouse.py"],
            SHOP,
            {"WAMP_URL": self.wamp, "WAREHOUSE_TICKET": ticket},
        )
        self.station = self._start("station", [PYTHON, "station.py", self.wamp], WEATHER, {})
        self.warehouse.wait_for("is open")
        self.station.wait_for("ready")

    def _start(
        self,
        name: str,
        command: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        fd: int | None = None,
    ) -> Program:
        return self._programs.start(name, command, cwd, {**self._env, **env}, fd)

    def _web_app(
        self,
        name: str,
        gunicorn: Sequence[str],
        cwd: Path,
        env: dict[str, str],
        *,
        before: Sequence[Sequence[str]],
        tool: Sequence[str],
    ) -> tuple[str, Program]:
        """Runs commands of the app's ``tool``, then serves it. Returns its URL, too."""
        # Listening before the server runs: nobody else gets the port, and no callback is
        # refused.
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            env |= {"ANYBRIDGE_URL": self.rest, "ANYBRIDGE_CALLBACK_URL": url + "wamp/"}
            for command in before:
                run([*tool, *command], cwd, {**self._env, **env})
            fd = listening.fileno()
            serve = [PYTHON, "-m", "gunicorn", f"--bind=fd://{fd}", "--no-control-socket"]
            serve += ["--log-level=warning", *gunicorn]
            return url, self._start(name, serve, cwd, env, fd)


def run(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
    """Runs a command to its end. Raises ``Failure`` if that is not a good one."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"{' '.join(command)}: {done.stdout}{done.stderr}")


def tour(demo: Demo) -> None:
    """Places an order and follows it. Raises ``Failure`` for a message that is not seen."""
    browser = Browser(demo.url)
    eventually(browser, "On the road today: ([^<]*)[.]<")  # the station has been heard

    tell(1, "browser → site", "an order of 2 × tea")
    browser.submit(browser.get(), product="tea", quantity="2")

    def seen(step: int, way: str, program: Program, pattern: str) -> re.Match[str]:
        line = program.wait_for(pattern)
        tell(step, way, line[0])
        return line

    seen(2, "site → warehouse, a call", demo.warehouse, r"com\.warehouse\.price\('tea', 2\).*")
    ordered = seen(
        3, "site → warehouse, an event", demo.warehouse, r"com\.shop\.ordered\(order=(\d+), .*"
    )
    seen(4, "warehouse → site, a call", demo.site, r"com\.shop\.stock\('tea'\).* by warehouse.*")
    shipped = rf"com\.warehouse\.shipped\(order={ordered[1]}\).*"
    seen(5, "warehouse → site, an event", demo.site, shipped)
    weather = eventually(browser, "On the road today: ([^<]*)[.]<")
    tell(6, "site → weather (Flask), a call", f"com.weather.report('paris') = {weather[1]}")
    row = rf'id="order-{ordered[1]}".*class="status">shipped<'
    eventually(browser, row)
    tell(7, "site → browser", f"order {ordered[1]} is shipped")
    print("All four ways were seen: calls and events, from HTTP to WAMP and from WAMP to HTTP.")


def tell(step: int, way: str, what: str) -> None:
    print(f"{step}. {way + ':':34} {what}", flush=True)


def eventually(browser: Browser, pattern: str) -> re.Match[str]:
    """Reloads the page until it has ``pattern``."""
    end = time.monotonic() + PATIENCE
    while True:
        page = browser.get()
        if match := re.search(pattern, page):
            return match
        if time.monotonic() > end:
            raise Failure(f"the page never had {pattern!r}:\n{page}")
        time.sleep(0.1)


def show(programs: Programs, folder: Path) -> Callable[[], None]:
    print("Starting a bridge, a Django site, a Flask app and two WAMP components.")
    demo = Demo(programs, folder)
    tour(demo)
    return lambda: stay(demo)


def stay(demo: Demo) -> None:
    """Shows what the programs print, until somebody interrupts."""
    print(f"\n  shop     {demo.url}\n  weather  {demo.weather_url}paris/")
    print(f"  bridge   {demo.rest}  {demo.wamp}\n\nCtrl-C stops all of it.\n", flush=True)
    for program in (demo.site, demo.weather, demo.warehouse, demo.station):
        program.echo = True
    signal.pause()


if __name__ == "__main__":
    sys.exit(main("demo", show))
