"""docs/flask.md and the README: their programs run, and do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from anybridge import Client

from realbridge import ROOT, TOKEN, Bridge, Process, answers, eventually, free_port

BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```\n", re.M | re.S)


def blocks(page: Path, language: str) -> list[str]:
    found = BLOCK.findall(page.read_text())
    return [textwrap.dedent(text) for _, kind, text in found if kind == language]


def files(page: Path) -> dict[str, str]:
    """The programs by the names that their first lines tell."""
    return {text.split()[1]: text for text in blocks(page, "python")}


class Guide:
    """A folder with a page's programs, and the environment that they want."""

    def __init__(self, page: Path, real: Bridge, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.port = free_port()
        self.environ = {
            **os.environ,
            "FLASK_ANYBRIDGE__URL": real.url,
            "FLASK_ANYBRIDGE__TOKEN": TOKEN,
            "FLASK_ANYBRIDGE__CALLBACK_URL": f"http://127.0.0.1:{self.port}/wamp/",
            "FLASK_CACHE_TYPE": "SimpleCache",
            "PYTHONPATH": ".",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        }
        for name, text in files(page).items():
            (folder / name).write_text(text)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def serve(self, command: str) -> Process:
        return Process(
            ["sh", "-c", "exec " + command.replace("5000", str(self.port))],
            self.folder / "log",
            lambda: answers(f"http://127.0.0.1:{self.port}/wamp/"),
            cwd=self.folder,
            env=self.environ,
        )


@pytest.fixture(params=["docs/flask.md", "contrib/flask/README.md"])
def guide(
    request: pytest.FixtureRequest, real: Bridge, tmp_path: Path
) -> Iterator[Guide]:  # fmt: skip
    yield Guide(ROOT / request.param, real, tmp_path)
    with Client(real.url, TOKEN) as client:
        client.unregister([r["procedure"] for r in client.registrations()])
        client.unsubscribe([s["topic"] for s in client.subscriptions()])


def test_programs(guide: Guide) -> None:
    others = [n.removesuffix(".py") for n in files(guide.page) if "test" not in n]
    guide.run(sys.executable, "-W", "error", "-c", "import " + ", ".join(others))
    guide.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider")


def test_commands(guide: Guide) -> None:
    commands = next(t for t in blocks(guide.page, "sh") if "anybridge call" in t)
    if "docs" in guide.page.parts:
        servers = [
            "flask --app shop run --debug --port 5000",
            *[li for t in blocks(guide.page, "sh") for li in t.split("\n") if "gunicorn" in li],
            "uvicorn --port 5000 asgi:app",
        ]
        assert len(servers) == 3
    else:
        servers = ["flask --app shop run --port 5000"]
    said = blocks(guide.page, "")[0]
    for server in servers:
        with guide.serve(server) as process:
            printed = guide.run("sh", "-ec", commands)
            assert re.sub(r"evt_\w+", "evt_…", printed) == said
            eventually(lambda p=process: "com.shop.order.new {'name': 'tea'}" in p.log())  # type: ignore[misc]
