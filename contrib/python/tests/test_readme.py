"""The README's programs do what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from app import eventually
from bridge import TOKEN, Bridge, free_port

from anybridge import Client

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:```\n(.*?)^```\n)?", README, re.M | re.S)


@pytest.fixture(scope="module")
def programs(shared_bridge: Bridge) -> list[str]:
    port = free_port()
    return [
        code.replace("http://127.0.0.1:8181", shared_bridge.url).replace("8000", str(port))
        for code, _ in BLOCKS
    ]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {**os.environ, "ANYBRIDGE_TOKEN": TOKEN, "PYTHONWARNINGS": "error"}


@pytest.fixture(scope="module")
def web_app(
    programs: list[str],
    environment: dict[str, str],
    shared_bridge: Bridge,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """What the README's app prints."""
    printed = tmp_path_factory.mktemp("readme") / "printed"
    with printed.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", programs[0]], env=environment, stdout=file, stderr=file
        )
    with Client(shared_bridge.url, TOKEN) as client:
        eventually(lambda: len(client.subscriptions()) == 1, "the app subscribes")
        yield printed
        process.terminate()
        process.wait()
        client.unregister(["com.example.divide"])
        client.unsubscribe(["com.example.order"])


@pytest.mark.parametrize("number", range(1, len(BLOCKS)))
def test_program(
    number: int, programs: list[str], environment: dict[str, str], web_app: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", programs[number]], env=environment, capture_output=True, text=True
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == BLOCKS[number][1]


def test_events_reach_the_app(web_app: Path) -> None:
    for order in ("{'tea': 2}", "{'coffee': 1}"):
        eventually(lambda o=order: f"order: {o}" in web_app.read_text(), order)  # type: ignore[misc]
