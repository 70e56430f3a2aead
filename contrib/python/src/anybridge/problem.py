"""Problem details (RFC 9457) as exceptions: the one table of statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import (
    AuthError,
    BridgeError,
    InvalidRequest,
    NoSuchProcedure,
    RemoteError,
    Timeout,
    Unavailable,
)

TYPE_PREFIX = "urn:anybridge:error:"

_BY_STATUS: dict[int, type[BridgeError]] = {
    401: AuthError,
    403: AuthError,
    429: Unavailable,
    500: BridgeError,
    501: InvalidRequest,
    502: Unavailable,
    503: Unavailable,
    504: Timeout,
}


def error_from(
    status: int, problem: Mapping[str, Any], retry_after: float | None, title: str = ""
) -> BridgeError:
    """The exception for an answer with this status and problem details, which may be
    empty."""
    kind = str(problem.get("type", ""))
    code = kind.removeprefix(TYPE_PREFIX) if kind.startswith(TYPE_PREFIX) else None
    detail = str(problem.get("detail") or problem.get("title") or title)
    if code == "application_error":
        args, kwargs = problem.get("args"), problem.get("kwargs")
        return RemoteError(
            str(problem.get("error", "")),
            args if isinstance(args, list) else (),
            kwargs if isinstance(kwargs, dict) else None,
            detail=str(problem.get("detail", "")),
            status=status,
        )
    if code == "no_such_procedure":
        return NoSuchProcedure(detail, status=status, code=code)
    default = InvalidRequest if 400 <= status < 500 else BridgeError
    error = _BY_STATUS.get(status, default)
    return error(detail, status=status, code=code, retry_after=retry_after)
