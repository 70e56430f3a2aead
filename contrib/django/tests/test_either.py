"""The dispatcher is a plain view under WSGI and an async one under ASGI."""

import asyncio
import threading
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.test import AsyncRequestFactory, TestCase
from django.views.decorators.csrf import csrf_exempt

from anybridge_django import dispatcher, registry
from anybridge_django.testing import BridgeClient


class EitherTest(TestCase):
    databases: set[str] = {"default", "other"}  # noqa: RUF012 (Django has it so)

    def test_it_is_what_the_server_needs(self) -> None:
        async def under_asgi() -> bool:
            return iscoroutinefunction(dispatcher)

        self.assertFalse(iscoroutinefunction(dispatcher))
        self.assertTrue(asyncio.run(under_asgi()))
        self.assertFalse(hasattr(dispatcher, "something_else"))

    def test_a_plain_handler_under_wsgi_has_no_event_loop(self) -> None:
        seen = []

        def handler() -> None:
            with self.assertRaises(RuntimeError):
                asyncio.get_running_loop()
            seen.append((threading.get_ident(), threading.active_count()))

        registry.rpc("com.shop.either")(handler)
        self.addCleanup(registry.procedures.pop, "com.shop.either")
        before = threading.get_ident(), threading.active_count()
        self.assertEqual(BridgeClient().invoke("com.shop.either").status_code, 204)
        self.assertEqual(seen, [before])

    def test_other_methods_are_refused_under_both(self) -> None:
        self.assertEqual(BridgeClient().get("/wamp/").status_code, 405)

        async def under_asgi() -> Any:
            return await dispatcher(AsyncRequestFactory().get("/wamp/"))

        self.assertEqual(asyncio.run(under_asgi()).status_code, 405)

    def test_a_decorator_of_another_time(self) -> None:
        """What wrapped it where no loop ran may be called in a thread of a loop's."""
        wrapped = csrf_exempt(dispatcher)

        async def under_asgi() -> Any:
            request = AsyncRequestFactory().post("/wamp/", data=b"{}", content_type="text/plain")
            return await asyncio.to_thread(wrapped, request)

        self.assertEqual(asyncio.run(under_asgi()).status_code, 401)
