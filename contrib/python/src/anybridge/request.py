"""Requests to the bridge, and when one is worth another attempt."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from .encoding import encode
from .errors import BridgeError, InvalidRequest, Timeout, Unavailable
from .problem import error_from


@dataclass(frozen=True)
class Request:
    """A request, the same for each attempt."""

    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]
    timeout: float
    """Seconds for everything, attempts and pauses included."""
    repeatable: bool
    """Whether it may be sent again when it is not known what came of it."""


@dataclass(frozen=True)
class Answer:
    """A response. The names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def value(self) -> Any:
        """The JSON of a 2xx answer. Raises a ``BridgeError`` for anything else."""
        try:
            data: Any = json.loads(self.body)
        except (ValueError, RecursionError):
            data = None
        if 200 <= self.status < 300 and isinstance(data, dict):
            return data
        if 200 <= self.status < 400:
            raise BridgeError("this is not the answer of a bridge", status=self.status)
        problem = data if isinstance(data, dict) else {}
        raise error_from(self.status, problem, self._retry_after(), f"status {self.status}")

    def _retry_after(self) -> float | None:
        text = self.headers.get("retry-after", "").strip()
        return float(text) if text.isascii() and text.isdigit() else None


class NotSentError(Exception):
    """There was no connection: nothing was sent. Its text says why."""


class Attempts:
    """Counts the attempts at one request within its timeout."""

    def __init__(self, request: Request, retries: int) -> None:
        self._request = request
        self._retries = retries
        self._made = 0
        self._end = time.monotonic() + request.timeout

    def left(self) -> float:
        """The seconds left, more than 0. Raises ``Timeout`` when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise Timeout(f"no answer within {self._request.timeout:g} s")
        return left

    def pause(self, error: BridgeError) -> float:
        """The seconds to wait before another attempt. Raises ``error`` if there is to be
        none."""
        self._made += 1
        pause = min(5.0, 0.1 * 2.0 ** min(self._made, 10)) * random.uniform(0.8, 1.2)  # noqa: S311
        pause = max(pause, error.retry_after or 0.0)
        too_late = time.monotonic() + pause >= self._end
        if self._made > self._retries or too_late or not self._worth_it(error):
            raise error
        return pause

    def _worth_it(self, error: BridgeError) -> bool:
        if isinstance(error.__cause__, NotSentError):
            return True
        if error.status == 429:
            return error.retry_after is not None
        if not self._request.repeatable:
            return False
        busy = isinstance(error, InvalidRequest) and error.status == 409 and error.retry_after
        return isinstance(error, Unavailable | Timeout) or bool(busy)


def named_path(action: str, name: str) -> str:
    """``/call/NAME/``. Raises ``InvalidRequest`` for a name that no URL can hold."""
    if name in ("", ".", ".."):
        raise InvalidRequest(f"{name!r} is no name")
    return f"/{action}/{quote(name, safe='')}/"


def json_body(**fields: Any) -> bytes:
    """A JSON object of the fields that are not None."""
    return encode({name: value for name, value in fields.items() if value is not None})
