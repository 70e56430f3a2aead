"""A bridge for the tests: built from this repository, served on free ports."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[3]
TOKEN = "a-token-of-the-django-tests-0123456789"


def available() -> bool:
    return shutil.which("go") is not None and (ROOT / "cmd" / "anybridge").is_dir()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class RealBridge:
    """Builds and serves; ``url`` is its address until ``stop``."""

    def __init__(self) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="anybridge-django-"))
        self.log = (self.dir / "log").open("w+")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        program = self.dir / "anybridge"
        subprocess.run(["go", "build", "-o", program, "./cmd/anybridge"], cwd=ROOT, check=True)
        config = self.dir / "anybridge.yaml"
        router = f'{{listen: "127.0.0.1:{free_port()}", path: /ws, realms: [realm1]}}'
        config.write_text(
            f"listen: 127.0.0.1:{port}\n"
            f"data_dir: {self.dir / 'data'}\n"
            f'tokens: {{shop: {{token: "{TOKEN}", allow: ["*"]}}}}\n'
            f"backends: {{wamp: {{kind: wamp, router: {router}}}}}\n"
        )
        self.process = subprocess.Popen(
            [program, "serve", "--config", config],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=self.dir,
        )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

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
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)
