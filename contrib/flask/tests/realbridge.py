"""A bridge for the tests, built from this repository, and a WAMP component beside it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "a-token-of-the-flask-tests-0123456789"
NEW_TOKEN = "the-token-that-comes-after-it-0123456789"
PATIENCE = 30.0
"""Seconds after which something that should happen soon has failed."""

T = TypeVar("T")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def eventually(condition: Callable[[], T]) -> T:
    """Waits for something that is true, and returns it."""
    end = time.monotonic() + PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("did not happen in time")
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether somebody answers there, with whatever."""
    try:
        urllib.request.urlopen(url, timeout=PATIENCE).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def serves(url: str) -> bool:
    """Whether somebody answers there with a 2xx."""
    try:
        urllib.request.urlopen(url, timeout=PATIENCE).close()
    except OSError as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        return False
    return True


class Process:
    """A program that is ready when ``ready()``. At the end of the block it is ended, with those
    that it has started."""

    def __init__(
        self, command: list[Any], log: Path, ready: Callable[[], bool], **options: Any
    ) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdout=file,
                stderr=file,
                start_new_session=True,
                **options,
            )
        end = time.monotonic() + PATIENCE
        while not ready():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise AssertionError(f"{command[0]} is not ready:\n{self.log()}")
            time.sleep(0.05)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        if self._process.poll() is not None:
            return
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class Bridge(Process):
    """A bridge that serves at ``url``, with its WAMP router at ``router``. The app's token is
    being replaced: it has a new one, and the previous one is accepted, too."""

    def __init__(self, program: Path, folder: Path) -> None:
        port, router_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}/"
        self.router = f"ws://127.0.0.1:{router_port}/ws"
        config = folder / "anybridge.yaml"
        router = f'{{listen: "127.0.0.1:{router_port}", path: /ws, realms: [realm1]}}'
        config.write_text(
            f"listen: 127.0.0.1:{port}\n"
            f"data_dir: {folder / 'data'}\n"
            "tokens:\n"
            f'  app: {{token: "{NEW_TOKEN}", previous: "{TOKEN}", allow: ["*"], users: true}}\n'
            f"backends: {{wamp: {{kind: wamp, router: {router}}}}}\n"
        )
        super().__init__(
            [program, "serve", "--config", config],
            folder / "log",
            lambda: serves(self.url + "readyz"),
            cwd=folder,
        )


class Component(Process):
    """The WAMP component of component.py, on a bridge's router."""

    def __init__(self, bridge: Bridge, folder: Path) -> None:
        log = folder / "component.log"
        super().__init__(
            [sys.executable, Path(__file__).with_name("component.py"), bridge.router],
            log,
            lambda: "component ready" in log.read_text(),
        )
