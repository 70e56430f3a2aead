"""Fixtures for pytest: ``pytest_plugins = ["anybridge_flask.pytest_plugin"]`` in conftest.py.

They use a fixture named ``app`` that returns the Flask app, as pytest-flask does.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from .testing import BridgeClient, LocalBridge, local_bridge


@pytest.fixture
def anybridge(app: Flask) -> Iterator[LocalBridge]:
    """Stands in for the bridge: ``outbox``, ``calls``, ``respond``."""
    with local_bridge(app) as bridge:
        yield bridge


@pytest.fixture
def anybridge_client(app: Flask, anybridge: LocalBridge) -> BridgeClient:
    """Posts signed callbacks: ``invoke``, ``deliver``, ``result``."""
    return BridgeClient(app)
