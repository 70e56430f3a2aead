"""What an app answers to a callback."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .encoding import encode
from .errors import ApplicationError
from .problem import TYPE_PREFIX
from .result import Result

RESULT_TYPE = "application/vnd.anybridge.result+json"
PROBLEM_TYPE = "application/problem+json"

EXCEPTION = "anybridge.error.exception"
"""The error of a procedure that failed with an exception of its own."""
INVALID_ARGUMENT = "wamp.error.invalid_argument"
"""The error of a call whose arguments do not fit the function."""


@dataclass(frozen=True)
class Reply:
    """An HTTP response, for the framework to send as it is."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def result(value: Any) -> Reply:
    """What a procedure returned. Raises what ``encode`` raises."""
    if value is None:
        return Reply(204)
    if isinstance(value, Result):
        body = encode({"args": value.args, "kwargs": value.kwargs})
        return Reply(200, {"Content-Type": RESULT_TYPE}, body)
    return Reply(200, {"Content-Type": "application/json"}, encode(value))


def application_error(error: ApplicationError) -> Reply:
    """What a procedure raised. Raises what ``encode`` raises."""
    return raised(error.uri, error.args, error.kwargs)


def raised(
    uri: str, args: list[Any] | None = None, kwargs: Mapping[str, Any] | None = None
) -> Reply:
    """An error with a URI, as the caller gets it."""
    return problem(
        500, "application_error", None, error=uri, args=args or [], kwargs=dict(kwargs or {})
    )


def later(seconds: float) -> Reply:
    """Asks the bridge to wait."""
    reply = problem(503, "unavailable", "later")
    wait = str(max(1, math.ceil(seconds)))
    return Reply(reply.status, {**reply.headers, "Retry-After": wait}, reply.body)


def problem(status: int, code: str, detail: str | None, **more: Any) -> Reply:
    """Problem details (RFC 9457)."""
    told = {"detail": detail} if detail else {}
    body = {"type": TYPE_PREFIX + code, "status": status, **told, **more}
    return Reply(status, {"Content-Type": PROBLEM_TYPE}, encode(body))
