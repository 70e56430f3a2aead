"""The extension: ``AnyBridge``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, overload

from anybridge import Client, Registry
from anybridge.dispatch import Outcome
from anybridge.patterns import Match
from anybridge.seen import Seen
from flask import Flask, current_app, has_request_context, request

from .bound import Bound
from .cli import group
from .conf import ConfigError
from .signals import published, send
from .views import blueprint

F = TypeVar("F", bound=Callable[..., Any])


class AnyBridge:
    """Makes functions procedures and handlers of events, and asks the bridge for things.

    One can serve several apps: each has a configuration and a client of its own, and all have
    the same handlers. Several can be on one app: each but one has a ``name`` (lower case
    letters, digits and underscores), from which follow the key of its configuration
    (``ANYBRIDGE_NAME``), the default path (``/wamp/NAME/``), its blueprint and its key in
    ``app.extensions`` (``anybridge_NAME``) and its command (``flask anybridge-NAME``).

    ``seen`` remembers which events were handled: a ``CacheSeen``, or any object with the
    methods of ``anybridge.seen.Seen``. By default each process remembers for itself.

    Asking the bridge needs an app context, which views, handlers and commands have.
    """

    def __init__(
        self, app: Flask | None = None, *, name: str = "", seen: Seen | None = None
    ) -> None:
        if not re.fullmatch(r"[a-z0-9_]*", name):
            raise ValueError(f"{name!r}: a name is lower case letters, digits and underscores")
        self.name = name
        self.key = f"anybridge_{name}" if name else "anybridge"
        self.config_key = self.key.upper()
        self.default_path = f"/wamp/{name}/" if name else "/wamp/"
        self.registry = Registry()
        self.result_handler: Outcome | None = None
        self._seen = seen
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, *, seen: Seen | None = None) -> None:
        """Puts the dispatcher and the commands on an app. The path of the dispatcher is read
        from the configuration now, the rest when it is needed. Raises ``ConfigError`` for a
        configuration that is wrong, and not for what is still missing."""
        if self.key in app.extensions:
            raise ConfigError(
                f"this app has {self.key} already: init_app is called once, and a second "
                "AnyBridge on one app needs a name of its own, as in AnyBridge(name='plant')"
            )
        bound = Bound(self, app, seen or self._seen)
        for other in app.extensions.values():
            if isinstance(other, Bound) and other.path.rstrip("/") == bound.path.rstrip("/"):
                raise ConfigError(
                    f'{self.config_key}["PATH"]: {other.bridge.key} has the path {bound.path}'
                )
        app.extensions[self.key] = bound
        app.register_blueprint(blueprint(bound))
        app.cli.add_command(group(bound))

    @overload
    def rpc(self, uri: F, /) -> F: ...
    @overload
    def rpc(
        self,
        uri: str | None = None,
        /,
        *,
        match: Match | None = None,
        invoke: str | None = None,
        timeout: float | str | None = None,
    ) -> Callable[[F], F]: ...
    def rpc(self, uri: Any = None, /, **options: Any) -> Any:
        """Makes a function, sync or async, a procedure; the function stays as it is.

        ``@bridge.rpc`` and ``@bridge.rpc()`` give it the function's name,
        ``@bridge.rpc("com.shop.add2")`` another one. ``match``, ``invoke`` and ``timeout`` are
        those of the endpoint. A parameter named ``ctx`` is given the call's ``Context``.
        """
        return self.registry.rpc(uri, **options)

    @overload
    def sub(self, topic: F, /) -> F: ...
    @overload
    def sub(
        self,
        topic: str | None = None,
        /,
        *,
        match: Match | None = None,
        ordered: bool | None = None,
        concurrency: int | None = None,
        rate: float | None = None,
        timeout: float | str | None = None,
        retry: Sequence[float | str] | None = None,
        exclude_me: bool | None = None,
    ) -> Callable[[F], F]: ...
    def sub(self, topic: Any = None, /, **options: Any) -> Any:
        """Has a function, sync or async, called with the events of a topic.

        ``@bridge.sub`` and ``@bridge.sub()`` mean the topic with the function's name. The
        options are those of the endpoint. A parameter named ``ctx`` is given the event's
        ``Context``. An event can come again: after a failure, or when its answer was lost.
        """
        if callable(topic):
            return self.registry.sub(topic.__name__)(topic)

        def decorate(function: F) -> F:
            name = function.__name__ if topic is None else topic
            return self.registry.sub(name, **options)(function)

        return decorate

    def on_result(self, function: F) -> F:
        """Has a function called as ``function(ctx, outcome)`` with what came of each
        ``call_later``: a ``Result``, or the ``BridgeError`` that ``call`` would have raised.
        ``ctx.message_id`` is the id that ``call_later`` returned, ``ctx.name`` the procedure.
        As an event it comes again if the function fails."""
        if self.result_handler is not None:
            raise ConfigError("on_result is for one function")
        self.result_handler = function
        return function

    @property
    def client(self) -> Client:
        """The current app's ``anybridge.Client``."""
        return self._bound().client

    def call(
        self,
        procedure: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        user: str | None = None,
    ) -> Any:
        """Calls a procedure and returns its value: see ``anybridge.Client.call``."""
        return self.client.call(procedure, args, kwargs, timeout=timeout, user=user)

    async def acall(
        self,
        procedure: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        user: str | None = None,
    ) -> Any:
        """``call`` for async views and handlers. Needs ``anybridge-flask[async]``."""
        return await self.client.acall(procedure, args, kwargs, timeout=timeout, user=user)

    def call_later(
        self,
        procedure: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        callback: str | None = None,
        timeout: float | None = None,
        key: str | None = None,
        user: str | None = None,
    ) -> str:
        """Has the bridge make a call, and returns the call's id at once. What came of it goes
        to the function under ``on_result``, or to the URL ``callback``."""
        bound = self._bound()
        if callback is None:
            if self.result_handler is None:
                raise ConfigError("call_later needs a function under @on_result, or a callback")
            callback = bound.callback_url()
        return bound.client.call_later(
            procedure, args, kwargs, callback=callback, timeout=timeout, key=key, user=user
        )

    def publish(
        self,
        topic: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        exclude_me: bool = False,
        **options: Any,
    ) -> str:
        """Publishes an event and returns its id: see ``anybridge.Client.publish``."""
        bound = self._bound()
        id = bound.client.publish(topic, args, kwargs, key=key, exclude_me=exclude_me, **options)
        self._tell(bound, topic, args, kwargs, id)
        return id

    async def apublish(
        self,
        topic: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        exclude_me: bool = False,
        **options: Any,
    ) -> str:
        """``publish`` for async views and handlers. Needs ``anybridge-flask[async]``."""
        bound = self._bound()
        id = await bound.client.apublish(
            topic, args, kwargs, key=key, exclude_me=exclude_me, **options
        )
        self._tell(bound, topic, args, kwargs, id)
        return id

    def is_callback(self) -> bool:
        """Whether the current request is for the dispatcher: the question of a
        ``before_request`` function that wants a login."""
        return has_request_context() and request.blueprint == self.key

    def _tell(
        self,
        bound: Bound,
        topic: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        id: str,
    ) -> None:
        values = {"topic": topic, "args": list(args), "kwargs": dict(kwargs or {}), "id": id}
        send(published, bound.app, bridge=self, **values)

    def _bound(self) -> Bound:
        bound = current_app.extensions.get(self.key)
        if not isinstance(bound, Bound) or bound.bridge is not self:
            raise ConfigError(f"the app {current_app.name} has no such bridge: call init_app(app)")
        return bound
