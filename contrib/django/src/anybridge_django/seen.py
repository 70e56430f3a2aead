"""Which deliveries were handled, kept in one of Django's caches."""

from __future__ import annotations

import hashlib
import logging
import time

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

KEEP = 7 * 24 * 3600
"""Seconds for which a handled delivery is known. The bridge retries for two and a half days."""

RUNNING = 10 * 60
"""Seconds for which a delivery counts as being handled, in case its process has died."""


PAUSES = (0.0, 0.05, 0.2, 0.5)
"""Seconds before each attempt to note a delivery as handled."""

log = logging.getLogger("anybridge_django")


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
        # A cache can fail without a word: the database cache does where another transaction
        # is in its way (SQLite).
        for pause in PAUSES:
            time.sleep(pause)
            self._cache.set(_key(id), "done", timeout=KEEP)
            if self.is_done(id):
                return
        log.error("the cache does not keep that %s was handled: it may be handled again", id)

    def discard(self, id: str) -> None:
        self._cache.delete(_key(id))

    @property
    def _cache(self) -> BaseCache:
        return caches[self._alias]  # each thread and task has a connection of its own


def _key(id: str) -> str:
    return "anybridge:seen:" + hashlib.sha256(id.encode()).hexdigest()
