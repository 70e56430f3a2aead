"""The view that the bridge calls back."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from anybridge import Context
from anybridge.dispatch import Dispatcher
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from .conf import conf
from .handlers import registry
from .seen import CacheSeen
from .signals import event_received, handler_failed, invocation_received


@csrf_exempt
@login_not_required
@require_POST
async def dispatcher(request: HttpRequest) -> HttpResponse:
    """Verify a callback's signature, run its handler and answer.

    Being async it works under both kinds of server: async handlers run in the event loop (under
    WSGI in one of their own), others in the request's thread, where its database connections
    are. A plain handler has a transaction of its own for each database with ATOMIC_REQUESTS,
    which its exception rolls back; the view itself has none.
    """
    reply = await _dispatcher(conf().tolerance).adispatch(
        request.headers, request.body, request.META.get("QUERY_STRING", "")
    )
    response = HttpResponse(reply.body, status=reply.status, headers=dict(reply.headers))
    if "Content-Type" not in reply.headers:
        del response["Content-Type"]
    return response


class _EveryDatabase(set[str]):
    def __contains__(self, alias: object) -> bool:
        return True


# What transaction.non_atomic_requests does for one database, for those that have it.
dispatcher._non_atomic_requests = _EveryDatabase()  # type: ignore[attr-defined]


@functools.cache
def _dispatcher(tolerance: float) -> Dispatcher:
    return Dispatcher(
        registry,
        lambda: conf().keys(),
        tolerance=tolerance,
        seen=CacheSeen(),
        debug=lambda: bool(settings.DEBUG),
        around=_around,
        run_sync=_run_sync,
    )


def _run_sync(function: Callable[[], Any]) -> Awaitable[Any]:
    return sync_to_async(function, thread_sensitive=True)()


@contextmanager
def _around(context: Context) -> Iterator[None]:
    """Surround a run of a handler with its signals and transactions."""
    received = event_received if context.kind == "event" else invocation_received
    received.send_robust(sender=None, context=context)
    try:
        with ExitStack() as stack:
            if not _in_event_loop():
                for alias in connections:
                    if connections.settings[alias]["ATOMIC_REQUESTS"]:
                        stack.enter_context(transaction.atomic(using=alias))
            yield
    except Exception as error:
        handler_failed.send_robust(sender=None, context=context, exception=error)
        raise


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
