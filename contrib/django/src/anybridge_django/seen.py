"""Which deliveries were handled, kept in one of Django's caches."""

from __future__ import annotations

import hashlib

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

KEEP = 7 * 24 * 3600
"""Seconds for which a handled delivery is known. The bridge retries for two and a half days."""

RUNNING = 10 * 60
"""Seconds for which a delivery counts as being handled, in case its process has died."""


class CacheSeen:
    """Remembers deliveries by their webhook-id, for all processes that share the cache.

    A delivery is claimed while its handler runs, and done only when that has succeeded: one
    whose handler failed, or whose process was killed, is handled again.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def is_done(self, id: str) -> bool:
        return bool(self._cache.get(_key(id)) == "done")

    def add(self, id: str) -> bool:
        return bool(self._cache.add(_key(id), "running", timeout=RUNNING))

    def done(self, id: str) -> None:
        self._cache.set(_key(id), "done", timeout=KEEP)

    def discard(self, id: str) -> None:
        self._cache.delete(_key(id))

    @property
    def _cache(self) -> BaseCache:
        return caches[self._alias]  # each thread and task has a connection of its own


def _key(id: str) -> str:
    return "anybridge:seen:" + hashlib.sha256(id.encode()).hexdigest()
