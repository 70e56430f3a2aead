"""A bridge for the tests, built from this repository, and a WAMP component at its router."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from anybridge import BridgeError, Client

T = TypeVar("T")

ROOT = Path(__file__).parents[3]
TOKEN = "a-token-of-the-django-tests-0123456789"
COMPONENT_TOKEN = "a-token-to-drive-the-component-0123456789"
TOKENS = f"""\
  shop: {{token: "{TOKEN}", allow: ["*"], users: true}}
  tests: {{token: "{COMPONENT_TOKEN}", allow: ["*"]}}
"""


def available() -> bool:
    return shutil.which("go") is not None and (ROOT / "cmd" / "anybridge").is_dir()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def eventually(condition: Callable[[], T], seconds: float = 30.0) -> T:
    """Wait until condition() is true, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("did not happen in time")


@functools.cache
def program() -> Path:
    """The bridge's program, built once for all tests."""
    folder = Path(tempfile.mkdtemp(prefix="anybridge-django-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "anybridge"
    subprocess.run(["go", "build", "-o", path, "./cmd/anybridge"], cwd=ROOT, check=True)
    return path


class RealBridge:
    """Serves; ``url`` is its address and ``ws`` its router's, until ``stop``.

    ``tokens`` is what the configuration has under that key. ``disclose`` is the router's.
    ``backends`` takes the place of them all; its router listens on ``${WAMP_PORT}``.
    """

    def __init__(
        self,
        tokens: str = TOKENS,
        *,
        disclose: bool = False,
        backends: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="anybridge-django-"))
        self.log = (self.dir / "log").open("w+")
        self.port, self.router_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.ws = f"ws://127.0.0.1:{self.router_port}/ws"
        self.backends = backends or (
            '  wamp: {kind: wamp, router: {listen: "127.0.0.1:${WAMP_PORT}", path: /ws, '
            f"realms: [realm1], disclose: {str(disclose).lower()}}}}}\n"
        )
        self._configure(tokens)
        self.process = subprocess.Popen(
            [program(), "serve", "--config", self.config],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=self.dir,
            env={**os.environ, **(environ or {}), "WAMP_PORT": str(self.router_port)},
        )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    @property
    def config(self) -> Path:
        return self.dir / "anybridge.yaml"

    def _configure(self, tokens: str) -> None:
        self.config.write_text(
            f"listen: 127.0.0.1:{self.port}\n"
            f"data_dir: {self.dir / 'data'}\n"
            f"tokens:\n{tokens}"
            f"backends:\n{self.backends}"
        )

    def reload(self, tokens: str, *, admin: str) -> None:
        """Have the bridge read another list of tokens, as an operator with ``admin`` does."""
        self._configure(tokens)
        request = urllib.request.Request(
            self.url + "reload/", b"{}", {"Authorization": f"Bearer {admin}"}
        )
        urllib.request.urlopen(request, timeout=20).close()

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(self.url + "readyz", timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the bridge did not start:\n" + (self.dir / "log").read_text())

    def stop(self) -> None:
        end(self.process)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Component:
    """A component written with Autobahn, in a process of its own: component.py. The tests
    drive it through its procedures."""

    def __init__(self, bridge: RealBridge) -> None:
        self.client = Client(bridge.url, COMPONENT_TOKEN, timeout=20)
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "component.py"), bridge.ws],
            stdin=subprocess.PIPE,
        )
        eventually(self._ready)

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError("the component has ended")
        try:
            return bool(self.client.call("com.component.ready"))
        except BridgeError:
            return False

    def call(self, procedure: str, *args: Any, **kwargs: Any) -> Any:
        """What the component gets when it calls: ["result", value] or ["error", uri, args]."""
        return self.client.call("com.component.call", [procedure, list(args), kwargs])

    def publish(self, topic: str, *args: Any) -> None:
        self.client.call("com.component.publish", [topic, list(args)])

    def heard(self, topic: str) -> list[Any]:
        """The arguments of the events of a topic that it subscribed to (see component.py)."""
        return list(self.client.call("com.component.heard", [topic]))

    def stop(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        end(self.process)
        self.client.close()


def end_group(leader: subprocess.Popen[Any]) -> None:
    """End a process that was started with start_new_session, and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGTERM)
    end(leader)


def end(process: subprocess.Popen[Any]) -> None:
    """Ask a process to end, and see that it does."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
