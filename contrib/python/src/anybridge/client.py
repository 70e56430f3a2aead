"""The client of a bridge's REST API."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from .atransport import AsyncPool
from .errors import BridgeError, InvalidRequest
from .request import Answer, Attempts, Request, json_body, named_path
from .result import Result
from .transport import Pool, Transport
from .version import __version__

Args = Sequence[Any]
Kwargs = Mapping[str, Any]
Endpoints = Mapping[str, "str | Mapping[str, Any]"]


class Client:
    """Asks the bridge at ``url``, with the rights of ``token``.

    Threads, event loops and processes made by a fork can share one: connections are opened
    at first use, by each process and loop for itself. ``timeout`` is in seconds, for one
    call of a method as a whole. ``pool_size`` is how many idle connections are kept.

    A request is sent up to ``retries`` times more where that is safe: when there was no
    connection, after a 429 that says how long to wait, and, for everything but calls, when
    it is not known what came of it. Publishing is safe because each attempt carries the
    same ``Idempotency-Key``.

    Every method raises a ``BridgeError``, of which the kinds tell what happened;
    ``TypeError`` and ``ValueError`` are raised for arguments that have no JSON.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout: float = 30.0,
        pool_size: int = 16,
        retries: int = 2,
        user_agent: str | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no http URL")
        if not token or not all("!" <= c <= "~" for c in token):
            raise ValueError("a token is visible ASCII characters")
        if timeout <= 0:
            raise ValueError("a timeout is more than 0 seconds")
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.retries = retries
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "User-Agent": user_agent or f"anybridge-python/{__version__}",
        }
        self._transport: Transport = _Http(self.url, pool_size)

    def call(
        self,
        procedure: str,
        args: Args = (),
        kwargs: Kwargs | None = None,
        *,
        timeout: float | None = None,
        user: str | None = None,
    ) -> Any:
        """Calls a procedure and returns its value: see ``Result.value``.

        Raises ``NoSuchProcedure``, ``RemoteError`` for what the procedure raised, and
        ``Timeout`` after ``timeout`` seconds: then the callee is told to stop.

        ``user`` says on whose behalf this app calls, to a handler behind the same bridge
        (``Context.user``). The token needs ``users: true`` in the bridge's configuration;
        ``AuthError`` without.
        """
        return self.call_result(procedure, args, kwargs, timeout=timeout, user=user).value

    def call_result(
        self,
        procedure: str,
        args: Args = (),
        kwargs: Kwargs | None = None,
        *,
        timeout: float | None = None,
        user: str | None = None,
    ) -> Result:
        """``call``, for procedures that return several values."""
        return _result(self._do(self._call_request(procedure, args, kwargs, timeout, user)))

    def call_later(
        self,
        procedure: str,
        args: Args = (),
        kwargs: Kwargs | None = None,
        *,
        callback: str,
        timeout: float | None = None,
        key: str | None = None,
        user: str | None = None,
    ) -> str:
        """Has the bridge make a call, at most once, and send what came of it to the URL
        ``callback``. Returns the call's id at once. ``timeout`` is for the call itself.

        With the same ``key``, which is new for each call if it is not given, the same call
        is not made again.
        """
        body = json_body(
            args=_list(args), kwargs=kwargs or None, timeout=timeout, callback=callback, user=user
        )
        request = self._request("POST", named_path("call", procedure), body, key=key or _new_key())
        return str(self._do(request)["id"])

    def publish(
        self,
        topic: str,
        args: Args = (),
        kwargs: Kwargs | None = None,
        *,
        key: str | None = None,
        exclude_me: bool = False,
        **options: Any,
    ) -> str:
        """Publishes an event and returns its id. When it returns, the backend has the event,
        and what is owed to subscriptions of the bridge is stored.

        With the same ``key``, which is new for each event if it is not given, the same
        event is not published again. ``exclude_me`` leaves out this token's own
        subscriptions. ``options`` are the backend's, such as ``retain=True``.
        """
        request = self._publish_request(topic, args, kwargs, key, exclude_me, options)
        return str(self._do(request)["id"])

    def register(self, endpoints: Endpoints) -> dict[str, Any]:
        """Registers procedures, all or none: name to URL, or to a mapping with ``url`` and
        options. Returns name to ``{"id": …}``. Doing it again changes nothing."""
        return self._bind("register", endpoints, "registered")

    def subscribe(self, endpoints: Endpoints) -> dict[str, Any]:
        """Subscribes to topics, as ``register`` registers procedures."""
        return self._bind("subscribe", endpoints, "subscribed")

    def unregister(self, names: Iterable[str]) -> dict[str, Any]:
        """Gives procedures up. Returns ``{"unregistered": […], "unknown": […]}``."""
        return self._bind("unregister", _names(names))

    def unsubscribe(self, names: Iterable[str]) -> dict[str, Any]:
        """Gives subscriptions up, and what they are still owed. Returns
        ``{"unsubscribed": […], "unknown": […]}``."""
        return self._bind("unsubscribe", _names(names))

    def registrations(self) -> list[dict[str, Any]]:
        """What this token has registered, with its health."""
        return list(self._do(self._request("GET", "/register/"))["registrations"])

    def subscriptions(self) -> list[dict[str, Any]]:
        """What this token has subscribed to, with its health."""
        return list(self._do(self._request("GET", "/subscribe/"))["subscriptions"])

    async def acall(
        self,
        procedure: str,
        args: Args = (),
        kwargs: Kwargs | None = None,
        *,
        timeout: float | None = None,
        user: str | None = None,
    ) -> Any:
        """``call`` for an event loop. Needs ``pip install anybridge[async]``."""
        return (await self.acall_result(procedure, args, kwargs, timeout=timeout, user=user)).value

    async def acall_result(
        self,
        procedure: str,
        args: Args = (),
        kwargs: Kwargs | None = None,
        *,
        timeout: float | None = None,
        user: str | None = None,
    ) -> Result:
        """``call_result`` for an event loop."""
        return _result(await self._ado(self._call_request(procedure, args, kwargs, timeout, user)))

    async def apublish(
        self,
        topic: str,
        args: Args = (),
        kwargs: Kwargs | None = None,
        *,
        key: str | None = None,
        exclude_me: bool = False,
        **options: Any,
    ) -> str:
        """``publish`` for an event loop."""
        request = self._publish_request(topic, args, kwargs, key, exclude_me, options)
        return str((await self._ado(request))["id"])

    def close(self) -> None:
        """Closes idle connections. The client can still be used: it opens new ones. Those
        of event loops are closed with their loop."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def _call_request(
        self,
        procedure: str,
        args: Args,
        kwargs: Kwargs | None,
        timeout: float | None,
        user: str | None,
    ) -> Request:
        timeout = self.timeout if timeout is None else timeout
        if timeout <= 0:
            raise InvalidRequest("a timeout is more than 0 seconds")
        body = json_body(args=_list(args), kwargs=kwargs or None, timeout=timeout, user=user)
        path = named_path("call", procedure)
        return self._request("POST", path, body, timeout=timeout, repeatable=False)

    def _publish_request(
        self,
        topic: str,
        args: Args,
        kwargs: Kwargs | None,
        key: str | None,
        exclude_me: bool,
        options: Kwargs,
    ) -> Request:
        body = json_body(
            args=_list(args),
            kwargs=kwargs or None,
            exclude_me=exclude_me or None,
            options=options or None,
        )
        return self._request("POST", named_path("publish", topic), body, key=key or _new_key())

    def _bind(self, action: str, endpoints: object, field: str | None = None) -> dict[str, Any]:
        body = json_body(endpoints=endpoints)
        answer = self._do(self._request("POST", f"/{action}/", body))
        return dict(answer[field] if field else answer)

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        key: str | None = None,
        timeout: float | None = None,
        repeatable: bool = True,
    ) -> Request:
        headers = {**self._headers, "Idempotency-Key": key} if key else self._headers
        timeout = self.timeout if timeout is None else timeout
        return Request(method, path, body, headers, timeout, repeatable)

    def _do(self, request: Request) -> Any:
        attempts = Attempts(request, self.retries)
        while True:
            left = attempts.left()
            try:
                return self._transport.send(request, left).value()
            except BridgeError as error:
                pause = attempts.pause(error)
            time.sleep(pause)

    async def _ado(self, request: Request) -> Any:
        attempts = Attempts(request, self.retries)
        while True:
            left = attempts.left()
            try:
                return (await self._transport.asend(request, left)).value()
            except BridgeError as error:
                pause = attempts.pause(error)
            await asyncio.sleep(pause)


class _Http:
    """Both kinds of HTTP."""

    def __init__(self, url: str, size: int) -> None:
        self._sync = Pool(url, size)
        self._async = AsyncPool(url, size)

    def send(self, request: Request, timeout: float) -> Answer:
        return self._sync.send(request, timeout)

    async def asend(self, request: Request, timeout: float) -> Answer:
        return await self._async.send(request, timeout)

    def close(self) -> None:
        self._sync.close()


def _result(answer: Mapping[str, Any]) -> Result:
    return Result(answer.get("args") or (), answer.get("kwargs") or {})


def _list(args: Args) -> list[Any] | None:
    if isinstance(args, str | bytes | Mapping):
        raise TypeError("args is a list: publish(topic, ['one'])")
    return list(args) or None


def _names(names: Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _new_key() -> str:
    return uuid.uuid4().hex
