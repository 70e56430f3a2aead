"""A view that is a plain function under WSGI and a coroutine function under ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponse

Plain = Callable[[HttpRequest], HttpResponse]
Coroutine = Callable[[HttpRequest], Awaitable[HttpResponse]]


class EitherView:
    """Answers with ``plain`` where no event loop runs, and with ``coroutine`` where one does.

    Django gives an async view under WSGI an event loop and a thread for each request, which
    takes ten times as long as the rest of a callback. It asks the view itself which kind it is,
    where it is about to call it; so one view can be both.
    """

    csrf_exempt = False
    login_required = True
    _non_atomic_requests: Container[str] = ()

    def __init__(self, plain: Plain, coroutine: Coroutine) -> None:
        self._plain = plain
        self._coroutine = coroutine
        self.__name__ = coroutine.__name__
        self.__qualname__ = coroutine.__qualname__  # reverse() asks for it
        self.__module__ = coroutine.__module__
        self.__doc__ = coroutine.__doc__

    def __call__(self, request: HttpRequest) -> Any:
        return self._coroutine(request) if in_event_loop() else self._plain(request)

    def __getattr__(self, name: str) -> Any:
        # Attributes that are there do not come here: this is what Django asks.
        if name in _MARKS and in_event_loop():
            return _MARKS[name]
        raise AttributeError(f"{type(self).__name__} has no {name}")


def in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _marked() -> None: ...


markcoroutinefunction(_marked)
_MARKS = dict(vars(_marked))
"""By what this Python knows a coroutine function that is none."""
