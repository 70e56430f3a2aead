"""From a callback's HTTP request to the handler and back, for any web framework."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast
from urllib.parse import parse_qs

from . import reply
from .context import Context
from .errors import ApplicationError, BridgeError, Gone, Later
from .message import Message, MessageError, parse
from .registry import HANDLER_PARAMETER, Handler, Registry
from .reply import Reply
from .result import Result
from .seen import MemorySeen, Seen
from .signing import SignatureError, verify

log = logging.getLogger("anybridge")

Outcome = Callable[[Context, "Result | BridgeError"], Any]
RunSync = Callable[[Callable[[], Any]], Awaitable[Any]]
RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]
Around = Callable[[Context], AbstractContextManager[Any]]


class Dispatcher:
    """Checks, finds, runs and answers. Threads and tasks use one at the same time.

    A callback that comes is answered in this order: 401 if the signature does not verify
    under one of ``keys()``, is older than ``tolerance`` seconds, or from the future; 400 if
    the body is no callback; 404 if there is no handler (the bridge retries an event: it may
    be that this process is older or newer than the subscription); 200 for an event or
    result that is in ``seen`` already, and 503 if it is being worked on; then the handler
    runs. Exceptions of handlers go to the logger ``anybridge``.

    ``keys`` is asked each time. ``seen`` is a ``MemorySeen`` if it is not given.
    ``debug()`` tells whether a caller may be told the text of an unexpected exception.
    ``on_result`` takes what came of ``Client.call_later``.

    Hooks: ``around`` gives a context manager for each run of a handler, which sees its
    exceptions; for a coroutine function it is entered in the event loop. ``run_sync`` runs
    a plain function for ``adispatch``, by default in a thread; ``run_async`` runs a
    coroutine for ``dispatch``, by default with ``asyncio.run``.
    """

    def __init__(
        self,
        registry: Registry,
        keys: Callable[[], Iterable[str]],
        *,
        tolerance: float = 300,
        seen: Seen | None = None,
        debug: Callable[[], bool] = lambda: False,
        on_result: Outcome | None = None,
        around: Around | None = None,
        run_sync: RunSync = asyncio.to_thread,
        run_async: RunAsync = asyncio.run,
    ) -> None:
        self.registry = registry
        self.seen: Seen = MemorySeen() if seen is None else seen
        self._keys = keys
        self._tolerance = tolerance
        self._debug = debug
        self._on_result = on_result
        self._around: Around = around or (lambda _: nullcontext())
        self._run_sync = run_sync
        self._run_async = run_async

    def dispatch(self, headers: Mapping[str, str], body: bytes, query: str = "") -> Reply:
        """Answers a request. ``body`` is what came over the wire, ``query`` the URL's query
        string. Raises only what ``keys`` and ``seen`` raise, and ``ValueError`` for a key
        that is none."""
        work = self._prepare(headers, body, query)
        if isinstance(work, Reply):
            return work
        claim = work.claim()
        if claim is not None:
            return claim
        try:
            if work.is_async:
                value = self._run_async(self._arun_around(work))
            else:
                with self._around(work.context):
                    value = work.run()
                    if inspect.isawaitable(value):
                        run = value if inspect.iscoroutine(value) else _coroutine(value)
                        value = self._run_async(run)
        except BaseException as error:
            return work.failed(error)
        return work.succeeded(value)

    async def adispatch(self, headers: Mapping[str, str], body: bytes, query: str = "") -> Reply:
        """``dispatch`` for an event loop. Handlers that are coroutine functions run in the
        loop, others, and ``seen``, through ``run_sync``."""
        work = self._prepare(headers, body, query)
        if isinstance(work, Reply):
            return work
        aside = self._run_sync if work.once else _here  # what asks ``seen`` may block
        if work.is_async:
            claim = await aside(work.claim)
            if claim is not None:
                return cast("Reply", claim)
            pending: Awaitable[Any] = self._arun_around(work)
        else:
            # In one go: to change threads costs more than everything else here.
            done = await self._run_sync(lambda: self._run_plain(work))
            if isinstance(done, Reply):
                return done
            pending = done
        try:
            value = await pending
        except BaseException as error:
            failure = error
        else:
            return cast("Reply", await aside(lambda: work.succeeded(value)))
        return cast("Reply", await aside(lambda: work.failed(failure)))

    def _run_plain(self, work: _Work) -> Reply | Awaitable[Any]:
        """Claims and runs. Returns the answer, or what a plain function left to await."""
        claim = work.claim()
        if claim is not None:
            return claim
        try:
            with self._around(work.context):
                value = work.run()
        except BaseException as error:
            return work.failed(error)
        if inspect.isawaitable(value):
            return value
        return work.succeeded(value)

    async def _arun_around(self, work: _Work) -> Any:
        with self._around(work.context):
            return await work.run()

    def _prepare(self, headers: Mapping[str, str], body: bytes, query: str) -> _Work | Reply:
        """What is to be done, or the answer if that is nothing."""
        try:
            webhook_id = verify(headers, body, self._keys(), tolerance=self._tolerance)
        except SignatureError as error:
            log.warning("callback refused: %s", error.reason)
            return reply.problem(401, "unauthenticated", error.reason)
        try:
            message = parse(headers, body, webhook_id)
        except MessageError as error:
            return reply.problem(400, "invalid_argument", str(error))
        if message.context.kind == "result":
            return self._result_work(message)
        kind: Any = "rpc" if message.context.kind == "invocation" else "sub"
        handler_id = parse_qs(query).get(HANDLER_PARAMETER, [None])[0]
        handler = self.registry.find(kind, message.context.name, handler_id)
        if handler is None:
            what = "procedure" if kind == "rpc" else "handler of"
            detail = f"this app has no {what} {message.context.name}"
            return reply.problem(404, "no_such_procedure" if kind == "rpc" else "not_found", detail)
        return _handler_work(self, message, handler)

    def _result_work(self, message: Message) -> _Work | Reply:
        hook, outcome = self._on_result, message.outcome
        if hook is None or outcome is None:
            return reply.problem(404, "not_found", "this app takes no results of calls")
        return _Work(self, message.context, lambda: hook(message.context, outcome), hook)


class _Work:
    """One run of a handler, and what the bridge is answered before and after."""

    def __init__(
        self, dispatcher: Dispatcher, context: Context, run: Callable[[], Any], function: Any
    ) -> None:
        self.context = context
        self.run = run
        self.is_async = inspect.iscoroutinefunction(function)
        self._seen = dispatcher.seen
        self._debug = dispatcher._debug
        self.once = context.kind != "invocation"

    def claim(self) -> Reply | None:
        """Claims what must not be done twice, or answers."""
        if not self.once:
            return None
        if self._seen.is_done(self.context.id):
            return Reply(200)
        if self._seen.add(self.context.id):
            return None
        if self._seen.is_done(self.context.id):  # just now
            return Reply(200)
        return reply.later(1)

    def succeeded(self, value: Any) -> Reply:
        if self.once:
            self._seen.done(self.context.id)
            return Reply(204)
        try:
            return reply.result(value)
        except (TypeError, ValueError, RecursionError) as error:
            return self.failed(error)

    def failed(self, error: BaseException) -> Reply:
        """What an exception means. One that ends the process or task goes on."""
        if self.once:
            self._seen.discard(self.context.id)
        if not isinstance(error, Exception):
            raise error
        match error:
            case Later():
                return reply.later(error.seconds)
            case Gone():
                return reply.problem(410, "not_found", "the app wants this no more")
            case _Misfit() if not self.once:
                return reply.raised(reply.INVALID_ARGUMENT, [str(error)])
            case ApplicationError() if not self.once:
                try:
                    return reply.application_error(error)
                except (TypeError, ValueError, RecursionError) as inner:
                    return self.failed(inner)
        log.error("%s %s failed", self.context.kind, self.context.name, exc_info=error)
        told = [f"{type(error).__name__}: {error}"] if self._debug() else []
        return reply.raised(reply.EXCEPTION, told)


class _Misfit(Exception):
    """The arguments do not fit the function."""


def _handler_work(dispatcher: Dispatcher, message: Message, handler: Handler) -> _Work:
    args, kwargs = message.args, dict(message.kwargs)
    if handler.wants_context:
        kwargs["ctx"] = message.context

    def run() -> Any:
        if handler.signature is not None:
            try:
                handler.signature.bind(*args, **kwargs)
            except TypeError as error:
                raise _Misfit(f"{handler.name}: {error}") from None
        return handler.function(*args, **kwargs)

    return _Work(dispatcher, message.context, run, handler.function)


async def _here(function: Callable[[], Any]) -> Any:
    return function()


async def _coroutine(value: Awaitable[Any]) -> Any:
    return await value
