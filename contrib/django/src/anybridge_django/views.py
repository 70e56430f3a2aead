"""The view that the bridge calls back."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from anybridge import BridgeError, Context, Result
from anybridge.dispatch import Dispatcher
from anybridge.reply import Reply
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from .conf import conf
from .either import EitherView, in_event_loop
from .handlers import registry
from .results import results
from .seen import CacheSeen
from .sending import KEY_PARAMETER
from .signals import event_received, handler_failed, invocation_received, result_received, tell


@require_POST
async def _coroutine(request: HttpRequest) -> HttpResponse:
    return _response(await _dispatcher(request).adispatch(*_parts(request)))


@require_POST
def _plain(request: HttpRequest) -> HttpResponse:
    return _response(_dispatcher(request).dispatch(*_parts(request)))


dispatcher = login_not_required(EitherView(_plain, _coroutine))
"""Verifies a callback's signature, runs its handler and answers.

It works under both kinds of server: async handlers run in the event loop (under WSGI in one of
their own), others in the request's thread, where its database connections are. A plain handler
has a transaction of its own for each database with ATOMIC_REQUESTS, which its exception rolls
back; the view itself has none.
"""
dispatcher.csrf_exempt = True


def _parts(request: HttpRequest) -> tuple[Any, bytes, str]:
    return request.headers, request.body, request.META.get("QUERY_STRING", "")


def _response(reply: Reply) -> HttpResponse:
    response = HttpResponse(reply.body, status=reply.status, headers=dict(reply.headers))
    if "Content-Type" not in reply.headers:
        del response["Content-Type"]
    return response


class _EveryDatabase(set[str]):
    def __contains__(self, alias: object) -> bool:
        return True


# What transaction.non_atomic_requests does for one database, for those that have it.
dispatcher._non_atomic_requests = _EveryDatabase()


def _dispatcher(request: HttpRequest) -> Dispatcher:
    c = conf()
    return Dispatcher(
        registry,
        c.keys,
        tolerance=c.tolerance,
        seen=CacheSeen(c.cache),
        debug=lambda: bool(settings.DEBUG),
        on_result=functools.partial(_on_result, request.GET.get(KEY_PARAMETER), in_event_loop()),
        around=_around,
        run_sync=_run_sync,
        run_async=_run_async,
    )


def _run_sync(function: Callable[[], Any]) -> Awaitable[Any]:
    return sync_to_async(function, thread_sensitive=True)()


def _run_async(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return async_to_sync(_wait)(coroutine)


async def _wait(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await coroutine


def _on_result(
    call_id: str | None, asgi: bool, context: Context, outcome: Result | BridgeError
) -> Any:
    """Hand an outcome on, or raise, so that the bridge sends it again: it may be that this
    process is older or newer than the call."""
    function = results.find(context.name)
    if function is None:
        raise LookupError(f"nobody takes what comes of {context.name}: @on_result")
    if call_id:
        context = replace(context, message_id=call_id)
    tell(result_received, context=context, outcome=outcome)
    value = function(context, outcome)
    # Under ASGI what an async function left to await is awaited after _around.
    return _watched(context, value) if asgi and asyncio.iscoroutine(value) else value


async def _watched(context: Context, value: Awaitable[Any]) -> Any:
    try:
        return await value
    except Exception as error:
        tell(handler_failed, context=context, exception=error)
        raise


@contextmanager
def _around(context: Context) -> Iterator[None]:
    """Surround a run of a handler with its signals and transactions."""
    if context.kind != "result":
        received = event_received if context.kind == "event" else invocation_received
        tell(received, context=context)
    try:
        with ExitStack() as stack:
            if not in_event_loop():
                for alias in connections:
                    if connections.settings[alias]["ATOMIC_REQUESTS"]:
                        stack.enter_context(transaction.atomic(using=alias))
            yield
    except Exception as error:
        tell(handler_failed, context=context, exception=error)
        raise
