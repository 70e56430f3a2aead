"""Fixtures: an app, a bridge that runs, and a WAMP component on it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

import shop
from realbridge import ROOT, Bridge, Component

pytest_plugins = ["anybridge_flask.pytest_plugin"]


@pytest.fixture
def app() -> Flask:
    shop.events.clear()
    shop.outcomes.clear()
    shop.failures = 0
    return shop.create_app()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bridge, built once."""
    path = tmp_path_factory.mktemp("bin") / "anybridge"
    subprocess.run(["go", "build", "-o", path, "./cmd/anybridge"], cwd=ROOT, check=True)
    return path


@pytest.fixture(scope="session")
def real(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A bridge, with the component on its router."""
    folder = tmp_path_factory.mktemp("bridge")
    with Bridge(program, folder) as bridge, Component(bridge, folder):
        yield bridge
