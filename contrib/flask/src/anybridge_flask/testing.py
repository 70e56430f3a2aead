"""For the tests of apps that use the bridge, with pytest or unittest. No bridge is needed.

::

    # conftest.py; the fixtures use one named app, which is yours
    pytest_plugins = ["anybridge_flask.pytest_plugin"]

    def test_order(anybridge, app):
        anybridge.respond("com.price", 3)
        app.test_client().post("/orders/", data={"name": "tea"})
        assert anybridge.outbox[0].topic == "com.shop.order"

    def test_add2(anybridge_client):
        assert anybridge_client.invoke("com.shop.add2", [1, 2]).json == 3
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from anybridge.encoding import encode
from anybridge.signing import derive_key, sign
from anybridge.testing import LocalBridge, signed_request
from flask import Flask
from werkzeug.test import TestResponse

from .bound import Bound

__all__ = ["BridgeClient", "BridgeTestMixin", "LocalBridge", "local_bridge"]

_KEY = "anybridge"


@contextmanager
def local_bridge(app: Flask, name: str = "", **settings: Any) -> Iterator[LocalBridge]:
    """Puts a ``LocalBridge`` in the place of the bridge, and yields it: ``outbox`` has what was
    published, ``respond`` says what calls are answered.

    ``name`` is that of the ``AnyBridge``. What the configuration lacks is made up; keyword
    arguments are further keys of it, such as ``TOLERANCE=10``.
    """
    bound = _bound(app, name)
    key, before = bound.bridge.config_key, app.config.get(bound.bridge.config_key)
    app.config[key] = {
        "URL": "http://bridge.invalid/",
        "TOKEN": "a-token-for-tests",
        "CALLBACK_URL": f"http://localhost{bound.path}",
        **{name: value for name, value in (before or {}).items() if value},
        **settings,
    }
    outer, bound.stand_in = bound.stand_in, LocalBridge()
    try:
        yield bound.stand_in
    finally:
        bound.stand_in = outer
        app.config[key] = before


class BridgeTestMixin:
    """Gives each test of a ``unittest.TestCase`` that has an ``app`` a ``LocalBridge`` as
    ``self.bridge`` and a ``BridgeClient`` as ``self.bridge_client``::

        class OrderTest(BridgeTestMixin, unittest.TestCase):
            app = create_app()
    """

    app: Flask
    bridge: LocalBridge
    bridge_client: BridgeClient

    def setUp(self) -> None:
        test: Any = self
        context = local_bridge(self.app)
        self.bridge = context.__enter__()
        test.addCleanup(context.__exit__, None, None, None)
        self.bridge_client = BridgeClient(self.app)
        test_case: Any = super()
        test_case.setUp()


class BridgeClient:
    """Posts at the dispatcher what the bridge would post, signed with the app's token, through
    the app's test client.

    Each method takes ``token``, ``id`` (the webhook-id) and ``timestamp`` (seconds since 1970)
    for callbacks that are forged, repeated or stale, and ``details`` for what the bridge tells
    of the other side, such as ``{"caller_user": "alice"}``.
    """

    def __init__(self, app: Flask, name: str = "") -> None:
        self._bound = _bound(app, name)

    def invoke(
        self,
        procedure: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
        **how: Any,
    ) -> TestResponse:
        """Posts a call of a procedure."""
        token = token or self._bound.conf.token
        return self._post(
            *signed_request("invocation", procedure, args, kwargs, token=token, **how)
        )

    def deliver(
        self,
        topic: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
        **how: Any,
    ) -> TestResponse:
        """Posts an event, to the subscription that fits best."""
        token = token or self._bound.conf.token
        return self._post(*signed_request("event", topic, args, kwargs, token=token, **how))

    def result(
        self,
        call_id: str,
        procedure: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        error: str | None = None,
        token: str | None = None,
        id: str | None = None,
        timestamp: int | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> TestResponse:
        """Posts what came of a ``call_later``; ``error`` is the URI of what it raised."""
        id = id or f"res_{uuid.uuid4().hex}"
        timestamp = int(time.time()) if timestamp is None else timestamp
        told: dict[str, Any] = {"type": "result", "id": call_id, "procedure": procedure}
        if error:
            told |= {"type": "error", "status": 500, "error": error}
        told["details"] = dict(details or {})
        body = encode({**told, "args": list(args), "kwargs": dict(kwargs or {})})
        key = derive_key(token or self._bound.conf.token)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign([key], id, timestamp, body),
        }
        return self._post(headers, body)

    def _post(self, headers: dict[str, str], body: bytes) -> TestResponse:
        return self._bound.app.test_client().post(self._bound.path, data=body, headers=headers)


def _bound(app: Flask, name: str) -> Bound:
    bound = app.extensions.get(f"{_KEY}_{name}" if name else _KEY)
    if not isinstance(bound, Bound):
        raise RuntimeError(f"{app.name} has no AnyBridge {name!r}: call init_app(app) first")
    return bound
