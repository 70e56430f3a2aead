"""Fixtures: a bridge that runs, and an app that it can call back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from app import App
from bridge import TOKEN, Bridge

from anybridge import Client

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program under test, built once."""
    path = tmp_path_factory.mktemp("bin") / "anybridge"
    subprocess.run(["go", "build", "-o", path, "./cmd/anybridge"], cwd=REPOSITORY, check=True)
    return path


@pytest.fixture(scope="session")
def shared_bridge(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A bridge for tests that leave it as it is; they use names of their own."""
    with Bridge(program, tmp_path_factory.mktemp("bridge")) as bridge:
        yield bridge


@pytest.fixture
def own_bridge(program: Path, tmp_path: Path) -> Iterator[Bridge]:
    """A bridge that the test may kill."""
    with Bridge(program, tmp_path) as bridge:
        yield bridge


@pytest.fixture
def client(shared_bridge: Bridge) -> Iterator[Client]:
    with Client(shared_bridge.url, TOKEN, timeout=20) as client:
        yield client


@pytest.fixture
def app(client: Client) -> Iterator[App]:
    with App() as app:
        yield app
        procedures, topics = app.endpoints()
        client.unregister(procedures)
        client.unsubscribe(topics)
