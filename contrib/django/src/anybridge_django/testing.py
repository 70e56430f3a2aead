"""For tests of projects that use the bridge, with unittest or pytest.

::

    class OrderTest(BridgeTestMixin, TestCase):
        def test_order(self):
            self.bridge.respond("com.price", 3)
            with self.captureOnCommitCallbacks(execute=True):
                self.client.post("/orders/", {"name": "tea"})
            self.assertEqual(self.bridge.outbox[0].topic, "com.shop.order")

        def test_add2(self):
            self.assertEqual(BridgeClient().invoke("com.shop.add2", [1, 2]).json(), 3)
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

from anybridge.signing import derive_key, sign
from anybridge.testing import signed_request
from django.test import Client, override_settings

from .conf import conf, raw
from .local import LocalBackend
from .sending import KEY_PARAMETER


@contextmanager
def local_bridge(**settings: Any) -> Iterator[LocalBackend]:
    """Put a fresh LocalBackend in the place of the bridge, and yield it.

    Keyword arguments are further keys of ANYBRIDGE, such as ``PUBLISH_ON_COMMIT=False``.
    """
    base = {"URL": "http://bridge.invalid/", "TOKEN": "a-token-for-tests"}
    backend = LocalBackend()
    # The object itself, so that it stays when a test overrides other settings meanwhile.
    with override_settings(
        ANYBRIDGE={**base, **raw(), "BACKEND": lambda *_, **__: backend, **settings}
    ):
        yield backend


class BridgeTestMixin:
    """Gives each test of a TestCase a LocalBackend of its own as ``self.bridge``."""

    bridge: LocalBackend

    def setUp(self) -> None:
        context = local_bridge()
        self.bridge = context.__enter__()
        cast(Any, self).addCleanup(context.__exit__, None, None, None)
        cast(Any, super()).setUp()


class BridgeClient(Client):
    """Posts at the dispatcher what the bridge would post, signed with the project's token.

    It checks CSRF, as a server does. Each method takes ``token``, ``id`` (the webhook-id) and
    ``timestamp`` (seconds since 1970) for callbacks that are forged, repeated or stale, and
    ``details`` for what the bridge tells of the other side, such as
    ``{"caller_token": "shop", "caller_user": "alice"}``.
    """

    def __init__(self, **defaults: Any) -> None:
        super().__init__(**{"enforce_csrf_checks": True, **defaults})

    def invoke(
        self,
        procedure: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **how: Any,
    ) -> Any:
        """Post a call of a procedure and return the response."""
        return self._post("invocation", procedure, args, kwargs, **how)

    def deliver(
        self,
        topic: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **how: Any,
    ) -> Any:
        """Post an event, to the subscription that fits best, and return the response."""
        return self._post("event", topic, args, kwargs, **how)

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
    ) -> Any:
        """Post what came of a ``call_later`` that returned ``call_id``, and return the response.
        ``error`` is the URI of what the procedure raised."""
        outcome: dict[str, Any] = {"type": "result", "id": call_id, "procedure": procedure}
        if error:
            outcome |= {"type": "error", "status": 500, "error": error}
        outcome |= {"args": list(args), "kwargs": dict(kwargs or {}), "details": details or {}}
        body = json.dumps(outcome).encode()
        id = id or f"res_{uuid.uuid4().hex}"
        timestamp = int(time.time()) if timestamp is None else timestamp
        headers = {
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign([derive_key(token or conf().token)], id, timestamp, body),
        }
        return self._send(headers, body, urlencode({KEY_PARAMETER: call_id}))

    def _post(
        self,
        kind: Any,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        *,
        token: str | None = None,
        **how: Any,
    ) -> Any:
        token = token or conf().token
        return self._send(*signed_request(kind, name, args, kwargs, token=token, **how))

    def _send(self, headers: Mapping[str, str], body: bytes, query: str = "") -> Any:
        path = urlsplit(conf().callback_url).path or "/"
        return self.post(
            path + ("?" + query if query else ""),
            data=body,
            content_type="application/json",
            headers=dict(headers),
        )
