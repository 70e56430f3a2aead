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

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

from anybridge.testing import signed_request
from django.test import Client, override_settings

from .backends import get_client
from .conf import conf, raw
from .local import LocalBackend


@contextmanager
def local_bridge(**settings: Any) -> Iterator[LocalBackend]:
    """Put a fresh LocalBackend in the place of the bridge, and yield it.

    Keyword arguments are further keys of ANYBRIDGE, such as ``PUBLISH_ON_COMMIT=False``.
    """
    base = {"URL": "http://bridge.invalid/", "TOKEN": "a-token-for-tests"}
    backend = f"{LocalBackend.__module__}.{LocalBackend.__qualname__}"
    with override_settings(ANYBRIDGE={**base, **raw(), "BACKEND": backend, **settings}):
        yield cast(LocalBackend, get_client())


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

    It checks CSRF, as a server does. ``token``, ``id`` (the webhook-id) and ``timestamp`` make
    callbacks that are forged, repeated or stale.
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

    def _post(
        self,
        kind: Any,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        *,
        token: str | None = None,
        id: str | None = None,
        timestamp: int | None = None,
    ) -> Any:
        c = conf()
        headers, body = signed_request(
            kind, name, args, kwargs, token=token or c.token, id=id, timestamp=timestamp
        )
        return self.post(
            urlsplit(c.callback_url).path or "/",
            data=body,
            content_type="application/json",
            headers=headers,
        )
