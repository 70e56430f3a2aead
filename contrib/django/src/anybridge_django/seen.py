"""Which deliveries were handled, kept in Django's default cache."""

from __future__ import annotations

import hashlib

from django.core.cache import cache

KEEP = 7 * 24 * 3600
"""Seconds for which a handled delivery is known. The bridge retries for two and a half days."""

RUNNING = 10 * 60
"""Seconds for which a delivery counts as being handled, in case its process has died."""


class CacheSeen:
    """Remembers deliveries by their webhook-id, for all processes that share the cache.

    A delivery is claimed while its handler runs, and done only when that has succeeded: one
    whose handler failed, or whose process was killed, is handled again.
    """

    def is_done(self, id: str) -> bool:
        return bool(cache.get(_key(id)) == "done")

    def add(self, id: str) -> bool:
        return bool(cache.add(_key(id), "running", timeout=RUNNING))

    def done(self, id: str) -> None:
        cache.set(_key(id), "done", timeout=KEEP)

    def discard(self, id: str) -> None:
        cache.delete(_key(id))


def _key(id: str) -> str:
    return "anybridge:seen:" + hashlib.sha256(id.encode()).hexdigest()
