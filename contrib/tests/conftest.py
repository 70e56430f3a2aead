"""Fixtures: a bridge that runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from anybridge import Client

from bridge import TOKEN, Bridge

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def running_bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A bridge, built from this repository."""
    program = tmp_path_factory.mktemp("bin") / "anybridge"
    subprocess.run(["go", "build", "-o", program, "./cmd/anybridge"], cwd=REPOSITORY, check=True)
    with Bridge(program, tmp_path_factory.mktemp("bridge")) as bridge:
        yield bridge


@pytest.fixture(scope="session")
def client(running_bridge: Bridge) -> Iterator[Client]:
    with Client(running_bridge.url, TOKEN, timeout=20) as client:
        yield client
