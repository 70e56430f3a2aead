"""What has been handled already: a delivery can come twice under one ``webhook-id``."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Protocol


class Seen(Protocol):
    """Remembers deliveries by ``webhook-id``. Threads use it at the same time.

    A claim and what was done are kept apart, so that nothing is lost: a delivery that
    comes again while the first attempt still runs, or after its process was killed, is put
    off and not taken for done.
    """

    def add(self, id: str) -> bool:
        """Claims the id. False if it is claimed or done. In a store that outlives the
        process a claim must lapse by itself, later than the longest handler takes."""

    def done(self, id: str) -> None:
        """The handler has succeeded: the id is to be remembered, for some days at best."""

    def is_done(self, id: str) -> bool:
        """Whether the handler has succeeded for this id."""

    def discard(self, id: str) -> None:
        """The handler has failed: the claim is given up."""


class MemorySeen:
    """A ``Seen`` for one process, which remembers the last ``capacity`` ids for ``ttl``
    seconds."""

    def __init__(self, capacity: int = 100_000, ttl: float = 3 * 24 * 3600) -> None:
        self._capacity = capacity
        self._ttl = ttl
        self._lock = threading.Lock()
        self._claimed: set[str] = set()
        self._done: OrderedDict[str, float] = OrderedDict()

    def add(self, id: str) -> bool:
        with self._lock:
            if id in self._claimed or self._has(id):
                return False
            self._claimed.add(id)
            return True

    def done(self, id: str) -> None:
        with self._lock:
            self._claimed.discard(id)
            self._done[id] = time.monotonic()
            while len(self._done) > self._capacity:
                self._done.popitem(last=False)

    def is_done(self, id: str) -> bool:
        with self._lock:
            return self._has(id)

    def discard(self, id: str) -> None:
        with self._lock:
            self._claimed.discard(id)

    def _has(self, id: str) -> bool:
        at = self._done.get(id)
        return at is not None and time.monotonic() - at < self._ttl
