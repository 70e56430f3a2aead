"""Starts sites under real servers, each in processes of its own."""

from __future__ import annotations

import http.cookiejar
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from realbridge import end, eventually, free_port

HERE = Path(__file__).parent

# What comes before the application on the command line of a server.
SERVERS = {
    # One request at a time in each worker: two that are under way are in two processes.
    "gunicorn": ["gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:{port}"],
    "uvicorn": ["uvicorn", "--log-level", "warning", "--port", "{port}"],
}
APPLICATIONS = {"gunicorn": "served.wsgi", "uvicorn": "served.asgi:application"}


class Site:
    """The site "served" under one of SERVERS, registered with a bridge by anybridge_sync.

    Without ``bridge`` it has the address of one that is down, and nothing is registered.
    """

    def __init__(self, server: str, bridge: str = "", *, token: str, debug: bool = False) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="anybridge-django-")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environ = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "served.settings",
            "TEST_DEBUG": str(int(debug)),
            "TEST_BRIDGE": bridge or f"http://127.0.0.1:{free_port()}/",
            "TEST_TOKEN": token,
            "TEST_CALLBACK_URL": self.url + "/wamp/",
            "TEST_FOLDER": self.folder.name,
            "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        }
        self._manage("migrate", "--run-syncdb", "--verbosity=0")
        self._manage("createcachetable")
        self.log = Path(self.folder.name, "log")
        command = [word.format(port=port) for word in SERVERS[server]]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command, APPLICATIONS[server]],
                env=self.environ,
                stdout=log,
                stderr=log,
            )
        try:
            eventually(self._ready)
            if bridge:
                self._manage("anybridge_sync")
        except BaseException:
            self.stop()
            raise

    def _manage(self, *words: str) -> None:
        command = [sys.executable, "-m", "django", *words]
        subprocess.run(command, env=self.environ, check=True, stdout=subprocess.DEVNULL)

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError("the site did not start:\n" + self.log.read_text())
        try:
            return self.get("/ready/")[0] == 200
        except OSError:
            return False

    def get(self, path: str) -> tuple[int, Any]:
        """The status of a page, and what it says: JSON, or else text."""
        return self.visitor().get(path)

    def visitor(self) -> Visitor:
        return Visitor(self.url)

    def post(self, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> int:
        """Post without any cookie, and return the status."""
        return self.visitor()._open(path, body, headers or {})[0]

    def happened(self, what: str) -> list[Any]:
        """What handlers have written down."""
        return list(self.get(f"/happened/?what={what}")[1])

    def stop(self) -> None:
        end(self.process)
        self.folder.cleanup()


class Visitor:
    """A browser: it keeps cookies, and follows no redirects."""

    def __init__(self, url: str) -> None:
        self._url = url
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies, _Stay)

    def get(self, path: str) -> tuple[int, Any]:
        return self._open(path, None, {})

    def _open(self, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, Any]:
        request = urllib.request.Request(self._url + path, body, dict(headers))
        try:
            with self._opener.open(request, timeout=30) as response:
                status, text = response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read().decode()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None
