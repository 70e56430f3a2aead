"""Fixtures for pytest: ``pytest_plugins = ["anybridge_django.pytest_plugin"]`` in conftest.py.

Settings come from pytest-django, or whatever else calls ``django.setup()``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .local import LocalBackend
from .testing import BridgeClient, local_bridge


@pytest.fixture
def anybridge() -> Iterator[LocalBackend]:
    """Stands in for the bridge: ``outbox``, ``calls``, ``respond``."""
    with local_bridge() as bridge:
        yield bridge


@pytest.fixture
def anybridge_client(anybridge: LocalBackend) -> BridgeClient:
    """Posts signed callbacks: ``invoke``, ``deliver``, ``result``."""
    return BridgeClient()
