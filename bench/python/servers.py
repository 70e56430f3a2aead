"""What the measurement talks to, each a process of its own on a free port."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path.append(str(REPOSITORY / "contrib" / "python" / "tests"))

from bridge import PATIENCE, Bridge, free_port  # noqa: E402

COMMANDS = {
    "gunicorn": "gunicorn --workers 1 --worker-class sync --bind 127.0.0.1:{port} project:wsgi",
    "uvicorn": "uvicorn --port {port} --log-level warning --no-access-log project:asgi",
    "callee": "callee {port}",
}


@contextmanager
def serving(name: str) -> Iterator[int]:
    """Runs a server, and yields its port."""
    port = free_port()
    command = [sys.executable, "-m", *COMMANDS[name].format(port=port).split()]
    process = subprocess.Popen(command, cwd=HERE, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + PATIENCE
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{name} does not start: {' '.join(command)}")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


@contextmanager
def bridge(folder: Path) -> Iterator[Bridge]:
    """Builds and runs a bridge."""
    program = folder / "anybridge"
    subprocess.run(["go", "build", "-o", program, "./cmd/anybridge"], cwd=REPOSITORY, check=True)
    with Bridge(program, folder) as running:
        yield running


def _listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0
