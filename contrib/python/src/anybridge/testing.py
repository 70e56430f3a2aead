"""For the tests of apps: a stand-in for the bridge, and signed callbacks.

Nothing here opens a connection.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal
from urllib.parse import unquote

from .client import Client
from .encoding import encode
from .errors import ApplicationError, InvalidRequest, NoSuchProcedure, RemoteError
from .request import Answer, Request
from .result import Result
from .signing import derive_key, sign

_TOPICS = ("topic", "subscriptions")


@dataclass(frozen=True)
class Published:
    """An event that was published, its values as JSON has them."""

    topic: str
    args: list[Any]
    kwargs: dict[str, Any]
    id: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Called:
    """A call that was made; ``callback`` is set by ``call_later``, ``user`` if it was given."""

    procedure: str
    args: list[Any]
    kwargs: dict[str, Any]
    callback: str | None = None
    user: str | None = None


class LocalBridge(Client):
    """A ``Client`` with no bridge: it keeps what is published in ``outbox`` and what is
    called in ``calls``, and answers calls as ``respond`` said.

    What is sent becomes JSON and back, as it would on its way, so that a test sees lists
    where the app passed tuples, and fails for what has no JSON. A ``key`` counts: the same
    one publishes once.
    """

    def __init__(self) -> None:
        super().__init__("http://anybridge.invalid", "local", retries=0)
        self.outbox: list[Published] = []
        self.calls: list[Called] = []
        self.registered: dict[str, Any] = {}
        self.subscribed: dict[str, Any] = {}
        self._responses: dict[str, Any] = {}
        self._keys: dict[str, tuple[str, bytes | None, str]] = {}
        self._transport = _Local(self)

    def respond(self, procedure: str, answer: Any) -> None:
        """Says what a call of ``procedure`` gets: a value or a ``Result``; an exception,
        which is raised (an ``ApplicationError`` as the ``RemoteError`` it becomes); or a
        function, which is called with what the procedure is called with. Without it a call
        raises ``NoSuchProcedure``."""
        self._responses[procedure] = answer

    def clear(self) -> None:
        """Forgets everything."""
        for kept in (self.outbox, self.calls):
            kept.clear()
        for known in (self.registered, self.subscribed, self._responses, self._keys):
            known.clear()

    def _answer(self, request: Request) -> dict[str, Any]:
        body = json.loads(request.body) if request.body else {}
        _, action, *rest = request.path.split("/")
        name = unquote(rest[0])
        args, kwargs = body.get("args", []), body.get("kwargs", {})
        if action in ("register", "subscribe", "unregister", "unsubscribe"):
            return self._hold(action, body.get("endpoints"))
        if action == "call" and "callback" not in body:
            self.calls.append(Called(name, args, kwargs, user=body.get("user")))
            return self._respond(name, args, kwargs)
        id, first = self._once(request)
        if first and action == "call":
            self.calls.append(Called(name, args, kwargs, body["callback"], body.get("user")))
        elif first:
            options = body.get("options", {})
            if body.get("exclude_me"):
                options["exclude_me"] = True
            self.outbox.append(Published(name, args, kwargs, id, options))
        return {"id": id}

    def _hold(self, action: str, endpoints: Any) -> dict[str, Any]:
        """What the bridge holds of the token's; ``endpoints`` is None for a list of it."""
        procedures = action.endswith("register")
        held = self.registered if procedures else self.subscribed
        if endpoints is None:
            field, kind = ("procedure", "registrations") if procedures else _TOPICS
            return {kind: [{field: name, "id": name, **held[name]} for name in held]}
        if action.startswith("un"):
            known = [name for name in endpoints if held.pop(name, None) is not None]
            unknown = [name for name in endpoints if name not in known]
            return {action.removesuffix("e") + "ed": known, "unknown": unknown}
        for name, endpoint in endpoints.items():
            held[name] = {"url": endpoint} if isinstance(endpoint, str) else endpoint
        return {action.removesuffix("e") + "ed": {name: {"id": name} for name in endpoints}}

    def _once(self, request: Request) -> tuple[str, bool]:
        key = request.headers["Idempotency-Key"]
        known = self._keys.get(key)
        if known is None:
            id = f"local_{uuid.uuid4().hex}"
            self._keys[key] = (request.path, request.body, id)
            return id, True
        if known[:2] != (request.path, request.body):
            raise InvalidRequest(
                "the key came with another request", status=422, code="idempotency_key_reused"
            )
        return known[2], False

    def _respond(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        if name not in self._responses:
            raise NoSuchProcedure(
                f"nobody has registered the procedure {name}", status=404, code="no_such_procedure"
            )
        answer = self._responses[name]
        try:
            if isinstance(answer, BaseException):
                raise answer
            value = answer(*args, **kwargs) if callable(answer) else answer
        except ApplicationError as error:
            args, kwargs = json.loads(encode([error.args, error.kwargs]))
            raise RemoteError(error.uri, args, kwargs) from error
        if isinstance(value, Result):
            return {"args": value.args, "kwargs": value.kwargs}
        return {"args": [value], "kwargs": {}}


class _Local:
    """The transport of a ``LocalBridge``."""

    def __init__(self, bridge: LocalBridge) -> None:
        self._bridge = bridge

    def send(self, request: Request, timeout: float) -> Answer:
        return Answer(200, {}, encode(self._bridge._answer(request)))

    async def asend(self, request: Request, timeout: float) -> Answer:
        return self.send(request, timeout)

    def close(self) -> None:
        pass


def signed_request(
    kind: Literal["event", "invocation"],
    name: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    token: str,
    id: str | None = None,
    timestamp: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> tuple[dict[str, str], bytes]:
    """The headers and the body that the bridge would post to an app that registered with
    ``token``. ``id`` is the ``webhook-id``, new each time if it is not given; ``timestamp``
    is in seconds since 1970, now if it is not given."""
    id = id or f"{kind[:3]}_{uuid.uuid4().hex}"
    timestamp = int(time.time()) if timestamp is None else timestamp
    message: dict[str, Any] = {"type": kind, "id": id}
    message["topic" if kind == "event" else "procedure"] = name
    message |= {"args": list(args), "kwargs": dict(kwargs or {})}
    if kind == "event":
        message["time"] = datetime.fromtimestamp(timestamp, timezone.utc)
    body = encode({**message, "details": dict(details or {})})
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "anybridge/testing",
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign([derive_key(token)], id, timestamp, body),
    }
    return headers, body
