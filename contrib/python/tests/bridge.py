"""Runs the program."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType

PATIENCE = 20.0
"""Seconds after which something that should happen at once has failed."""

TOKEN = "the-token-of-the-tests"
OTHER_TOKEN = "another-token-of-the-tests"
RESTRICTED_TOKEN = "a-token-that-may-nothing-much"

CONFIG = """\
listen: 127.0.0.1:{port}
data_dir: {data}
tokens:
  tests: {{token: {token}, allow: ["*"]}}
  other: {{token: {other}, allow: ["*"]}}
  restricted: {{token: {restricted}, allow: ["publish:com.example.allowed"]}}
callbacks:
  allow: [127.0.0.0/8]
backends:
  wamp: {{kind: wamp, router: {{listen: "127.0.0.1:0", path: /ws, realms: [realm1]}}}}
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Bridge:
    """One running bridge. It can be killed and started again, on the same port and data."""

    def __init__(self, program: Path, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._program = program
        self._folder = folder
        self._config = folder / "anybridge.yaml"
        self._config.write_text(
            CONFIG.format(
                port=port,
                data=folder / "data",
                token=TOKEN,
                other=OTHER_TOKEN,
                restricted=RESTRICTED_TOKEN,
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the bridge, and waits until it is ready."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "serve", "--config", self._config],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + PATIENCE
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > end:
                raise AssertionError("the bridge is not ready:\n" + self.log())
            time.sleep(0.02)

    def kill(self) -> None:
        """Ends the bridge as a power switch would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)

    def stop(self) -> None:
        """Ends the bridge as an operator would."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            assert self._process.wait(PATIENCE) == 0, self.log()
        finally:
            self._process.kill()

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-20_000:]

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/readyz", timeout=PATIENCE):
                return True
        except OSError:
            return False

    def __enter__(self) -> Bridge:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
