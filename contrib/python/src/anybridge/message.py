"""The body of a callback."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .context import Context, Kind
from .errors import BridgeError
from .problem import error_from
from .result import Result


class MessageError(Exception):
    """The body is not a callback."""


@dataclass(frozen=True)
class Message:
    """A callback: what it carries, and where it comes from."""

    args: list[Any]
    kwargs: dict[str, Any]
    context: Context
    outcome: Result | BridgeError | None = None
    """What came of a call, for a callback of the kind ``result``."""


_KINDS: dict[str, tuple[Kind, str]] = {
    "event": ("event", "topic"),
    "invocation": ("invocation", "procedure"),
    "result": ("result", "procedure"),
    "error": ("result", "procedure"),
}


def parse(headers: Mapping[str, str], body: bytes, webhook_id: str) -> Message:
    """Reads a callback's body. Raises ``MessageError``."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MessageError("the body is not JSON") from error
    try:
        kind, name_field = _KINDS[data["type"]]
        args, kwargs = data.get("args") or [], data.get("kwargs") or {}
        details = data.get("details") or {}
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise MessageError("args is no list, or kwargs no object")
        context = Context(
            id=webhook_id,
            kind=kind,
            name=str(data[name_field]),
            details=details,
            time=_moment(data.get("time")),
            headers={name.lower(): value for name, value in headers.items()},
            message_id=str(data.get("id", "")),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise MessageError("the body is not a callback of a bridge") from error
    outcome: Result | BridgeError | None = None
    if data["type"] == "error":
        outcome = _error(data, args, kwargs)
    elif kind == "result":
        outcome = Result(args, kwargs)
    return Message(args, kwargs, context, outcome)


def _error(data: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]) -> BridgeError:
    """The error that a call without a callback would have raised."""
    uri, status = str(data.get("error", "")), data.get("status")
    status = status if isinstance(status, int) else 500
    raised = status == 500 and uri != "anybridge.error.internal"
    code = "application_error" if raised else uri.rpartition(".")[2]
    problem = {
        "type": f"urn:anybridge:error:{code}",
        "detail": data.get("detail", ""),
        "error": uri,
        "args": args,
        "kwargs": kwargs,
    }
    return error_from(status, problem, None)


def _moment(text: object) -> datetime | None:
    """RFC 3339 with up to nine digits of a second's fraction."""
    if not isinstance(text, str):
        return None
    whole, _, fraction = text.removesuffix("Z").partition(".")
    try:
        moment = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
        return moment.replace(microsecond=int(fraction[:6].ljust(6, "0")))
    except ValueError:
        return None
