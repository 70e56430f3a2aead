"""Which deliveries were handled, kept in a cache that the app's processes share."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

KEEP = 7 * 24 * 3600
"""Seconds for which a handled delivery is known. The bridge retries for two and a half days."""

RUNNING = 10 * 60
"""Seconds for which a delivery counts as being handled, in case its process has died."""


class Cache(Protocol):
    """What the caches of cachelib and the ``Cache`` of Flask-Caching have."""

    def get(self, key: str) -> Any: ...

    def add(self, key: str, value: Any, timeout: int) -> Any: ...

    def set(self, key: str, value: Any, timeout: int) -> Any: ...

    def delete(self, key: str) -> Any: ...


class CacheSeen:
    """``AnyBridge(seen=CacheSeen(cache))`` remembers deliveries by their webhook-id for all
    processes that share the cache.

    A delivery is claimed while its handler runs, and done only when that has succeeded: one
    whose handler failed, or whose process was killed, is handled again. Two processes can
    claim one delivery at the same moment if the cache's ``add`` is not atomic: those of Redis
    and Memcached are, the file system's is not.
    """

    def __init__(self, cache: Any) -> None:
        # Any: the caches name and annotate these parameters each in their own way.
        self._cache: Cache = cache

    def is_done(self, id: str) -> bool:
        return bool(self._cache.get(_key(id)) == "done")

    def add(self, id: str) -> bool:
        key = _key(id)
        if self._cache.add(key, "running", timeout=RUNNING):
            return True
        if self._cache.get(key) is not None:
            return False
        # The file system's cache keeps what has lapsed in the way of what is added.
        self._cache.delete(key)
        return bool(self._cache.add(key, "running", timeout=RUNNING))

    def done(self, id: str) -> None:
        self._cache.set(_key(id), "done", timeout=KEEP)

    def discard(self, id: str) -> None:
        self._cache.delete(_key(id))


def _key(id: str) -> str:
    return "anybridge:seen:" + hashlib.sha256(id.encode()).hexdigest()
