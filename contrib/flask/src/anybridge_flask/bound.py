"""An ``AnyBridge`` on one app: that app's configuration, client and dispatcher."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from anybridge import Client, Context, syncing
from anybridge.dispatch import Dispatcher
from anybridge.seen import MemorySeen, Seen
from anybridge.syncing import Plan
from flask import Flask

from .conf import Conf, ConfigError, read
from .signals import event_received, handler_failed, invocation_received, send

if TYPE_CHECKING:
    from .extension import AnyBridge


class Bound:
    """``app.extensions["anybridge"]``. Opens no socket before its client is first used."""

    def __init__(self, bridge: AnyBridge, app: Flask, seen: Seen | None) -> None:
        self.bridge = bridge
        self.app = app
        self.seen: Seen = seen or MemorySeen()
        self.stand_in: Client | None = None
        """Takes the place of the client, for tests."""
        self._read: tuple[Any, Conf] | None = None
        self._client: tuple[tuple[str, str, float], Client] | None = None
        self.path = self.conf.path

    @property
    def conf(self) -> Conf:
        """The configuration of this moment. Raises ``ConfigError`` for what is wrong in it."""
        given = self.app.config.get(self.bridge.config_key)
        if self._read is None or self._read[0] != given:
            conf = read(self.app.config, self.bridge.config_key, self.bridge.default_path)
            self._read = (dict(given) if given else given, conf)
        return self._read[1]

    @property
    def client(self) -> Client:
        """The client, one for each process. Raises ``ConfigError`` without URL and TOKEN."""
        if self.stand_in is not None:
            return self.stand_in
        c = self.conf
        want = (
            c.required("URL", "it is the bridge's address, such as http://localhost:8181/"),
            c.required("TOKEN", "it is the token that the bridge knows this app by"),
            c.timeout,
        )
        # No lock, which a fork could inherit while it is held: of two threads that are first
        # at the same time one has its client to itself for one request.
        held = self._client
        if held is None or held[0] != want:
            try:
                held = self._client = (want, Client(want[0], want[1], timeout=want[2]))
            except ValueError as error:
                raise ConfigError(f"{c.key}: {error}") from None
        return held[1]

    def dispatcher(self) -> Dispatcher:
        """What answers a callback, by the configuration of this moment."""
        c = self.conf
        c.required("TOKEN", "callbacks are signed with a key derived from it")
        return Dispatcher(
            self.bridge.registry,
            c.keys,
            tolerance=c.tolerance,
            seen=self.seen,
            debug=lambda: bool(self.app.debug),
            on_result=self.bridge.result_handler,
            around=self._around,
            run_async=self._run_async,
        )

    def plan(self) -> Plan:
        """What the handlers ask the bridge for. Raises ``ConfigError`` for handlers that
        cannot work."""
        registry, c = self.bridge.registry, self.conf
        for clash in registry.duplicates():
            raise ConfigError(f"Two handlers of one name: {clash}")
        handlers = [*registry.procedures.values(), *registry.subscriptions]
        if not handlers:
            return Plan(c.callback_url, {}, {})
        for handler in handlers:
            try:
                self.app.ensure_sync(handler.function)
            except RuntimeError as error:
                raise ConfigError(f"{handler.place} is async: {error}") from None
        return syncing.plan(registry, self.callback_url(), c.secrets)

    def callback_url(self) -> str:
        """The dispatcher's address as the bridge reaches it. Raises ``ConfigError``."""
        return self.conf.required(
            "CALLBACK_URL",
            "it is this app's address as the bridge reaches it, followed by the path of the "
            f"dispatcher, such as http://localhost:5000{self.path}",
        )

    @contextmanager
    def _around(self, context: Context) -> Iterator[None]:
        if context.kind != "result":
            signal = event_received if context.kind == "event" else invocation_received
            send(signal, self.app, bridge=self.bridge, context=context)
        try:
            yield
        except Exception as error:
            send(handler_failed, self.app, bridge=self.bridge, context=context, exception=error)
            raise

    def _run_async(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            run = self.app.ensure_sync(_wait)
        except RuntimeError:
            coroutine.close()
            raise
        return run(coroutine)


async def _wait(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await coroutine
