"""The dispatcher, without a bridge."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from anybridge import ApplicationError, Context, Gone, Later, Registry, Result
from anybridge.dispatch import Dispatcher
from anybridge.registry import HANDLER_PARAMETER
from anybridge.reply import PROBLEM_TYPE, RESULT_TYPE, Reply
from anybridge.seen import MemorySeen
from anybridge.signing import derive_key, sign
from anybridge.testing import signed_request

TOKEN = "the-token"


def make(registry: Registry, **options: Any) -> Dispatcher:
    return Dispatcher(registry, lambda: [derive_key(TOKEN)], **options)


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.rpc("add")(lambda a, b=1: a + b)
    return registry


def invoke(dispatcher: Dispatcher, name: str, *args: Any, **kwargs: Any) -> Reply:
    return dispatcher.dispatch(*signed_request("invocation", name, args, kwargs, token=TOKEN))


def deliver(dispatcher: Dispatcher, topic: str, *args: Any, id: str | None = None) -> Reply:
    return dispatcher.dispatch(*signed_request("event", topic, args, token=TOKEN, id=id))


def body(reply: Reply) -> Any:
    return json.loads(reply.body)


def test_replies_to_invocations(registry: Registry) -> None:
    registry.rpc("nothing")(lambda: None)
    registry.rpc("full")(lambda: Result([1, 2], {"c": 3}))
    dispatcher = make(registry)
    reply = invoke(dispatcher, "add", 1, b=2)
    assert reply == Reply(200, {"Content-Type": "application/json"}, b"3")
    assert invoke(dispatcher, "nothing") == Reply(204)
    reply = invoke(dispatcher, "full")
    assert (reply.status, reply.headers["Content-Type"]) == (200, RESULT_TYPE)
    assert body(reply) == {"args": [1, 2], "kwargs": {"c": 3}}


@pytest.mark.parametrize("debug", [False, True])
def test_errors_of_procedures(
    registry: Registry, debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise ApplicationError("com.example.no", ["why"], {"not": 1})

    registry.rpc("refuse")(refuse)
    registry.rpc("fail")(lambda: 1 // 0)
    registry.rpc("nan")(lambda: float("nan"))
    registry.rpc("object")(lambda: object())
    dispatcher = make(registry, debug=lambda: debug)
    reply = invoke(dispatcher, "refuse")
    assert (reply.status, reply.headers["Content-Type"]) == (500, PROBLEM_TYPE)
    told = body(reply)
    assert (told["error"], told["args"], told["kwargs"]) == ("com.example.no", ["why"], {"not": 1})
    for name in ("fail", "nan", "object"):
        caplog.clear()
        told = body(invoke(dispatcher, name))
        assert told["error"] == "anybridge.error.exception"
        assert bool(told["args"]) == debug
        assert caplog.records[0].levelno == logging.ERROR
    assert body(invoke(dispatcher, "add"))["error"] == "wamp.error.invalid_argument"
    # A TypeError from inside is the procedure's own.
    assert body(invoke(dispatcher, "add", 1, "b"))["error"] == "anybridge.error.exception"


def test_what_nobody_handles(registry: Registry) -> None:
    dispatcher = make(registry)
    for reply in (invoke(dispatcher, "unknown"), deliver(dispatcher, "unknown")):
        assert (reply.status, reply.headers["Content-Type"]) == (404, PROBLEM_TYPE)
        assert "error" not in body(reply)


def test_what_is_not_signed(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = make(registry, tolerance=10)
    headers, content = signed_request("invocation", "add", [1], token=TOKEN)
    assert dispatcher.dispatch({}, content).status == 401
    assert dispatcher.dispatch(headers, content + b" ").status == 401
    other = signed_request("invocation", "add", [1], token="another")
    assert dispatcher.dispatch(*other).status == 401
    stale = signed_request("invocation", "add", [1], token=TOKEN, timestamp=int(time.time()) - 20)
    assert dispatcher.dispatch(*stale).status == 401
    assert len(caplog.records) == 4
    assert dispatcher.dispatch(headers, content).status == 200


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"type":"other"}', b'{"type":"event"}', b"[" * 100_000]
)
def test_what_is_no_callback(registry: Registry, content: bytes) -> None:
    stamp = int(time.time())
    headers = {
        "webhook-id": "x",
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign([derive_key(TOKEN)], "x", stamp, content),
    }
    assert make(registry).dispatch(headers, content).status == 400


def test_an_event_is_handled_once(registry: Registry) -> None:
    came: list[Any] = []
    registry.sub("t")(came.append)
    dispatcher = make(registry)
    assert [deliver(dispatcher, "t", 1, id="evt_1").status for _ in range(3)] == [204, 200, 200]
    assert deliver(dispatcher, "t", 2, id="evt_2").status == 204
    assert came == [1, 2]


def test_an_event_that_fails_is_handled_again(registry: Registry) -> None:
    failures: list[BaseException] = [Later(2.5), RuntimeError("no"), ApplicationError("com.no")]

    @registry.sub("t")
    def on_t() -> None:
        if failures:
            raise failures.pop(0)

    dispatcher = make(registry)
    replies = [deliver(dispatcher, "t", id="evt_1") for _ in range(5)]
    assert [reply.status for reply in replies] == [503, 500, 500, 204, 200]
    assert replies[0].headers["Retry-After"] == "3"


def test_an_event_that_comes_while_it_is_handled(registry: Registry) -> None:
    inner: list[Reply] = []
    dispatcher = make(registry)
    registry.sub("t")(lambda: inner.append(deliver(dispatcher, "t", id="evt_1")))
    assert deliver(dispatcher, "t", id="evt_1").status == 204
    assert (inner[0].status, inner[0].headers["Retry-After"]) == (503, "1")


def test_gone(registry: Registry) -> None:
    @registry.sub("t")
    def on_t() -> None:
        raise Gone

    assert deliver(make(registry), "t").status == 410


def test_what_ends_the_process_goes_on(registry: Registry) -> None:
    seen = MemorySeen()

    @registry.sub("t")
    def on_t() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deliver(make(registry, seen=seen), "t", id="evt_1")
    assert seen.add("evt_1"), "the claim was given up"


def test_context(registry: Registry) -> None:
    contexts: list[Context] = []
    registry.sub("t", match="prefix")(lambda n, ctx: contexts.append(ctx))
    request = signed_request("event", "t.a", [1], token=TOKEN, id="e", details={"publisher": 7})
    make(registry).dispatch(*request)
    ctx = contexts[0]
    assert (ctx.id, ctx.kind, ctx.name, ctx.caller) == ("e", "event", "t.a", 7)
    assert ctx.time is not None
    assert abs(ctx.time.timestamp() - time.time()) < 60


def test_a_caller_cannot_make_up_the_context(registry: Registry) -> None:
    registry.rpc("who")(lambda *, ctx: ctx.name)
    assert body(invoke(make(registry), "who", ctx="me")) == "who"


def test_the_url_tells_whose_delivery_it_is(registry: Registry) -> None:
    came: list[str] = []
    registry.sub("com.shop", match="prefix")(lambda: came.append("prefix"))
    registry.sub("com.shop.order")(lambda: came.append("exact"))
    registry.sub("com.bank.order")(lambda: came.append("bank"))
    dispatcher = make(registry)
    for handler in registry.subscriptions:
        headers, content = signed_request("event", "com.shop.order", token=TOKEN)
        reply = dispatcher.dispatch(headers, content, f"x=1&{HANDLER_PARAMETER}={handler.id}")
        assert reply.status == (404 if handler.name == "com.bank.order" else 204)
    assert came == ["prefix", "exact"]
    deliver(dispatcher, "com.shop.order")
    assert came == ["prefix", "exact", "exact"]


def test_around_sees_exceptions(registry: Registry) -> None:
    seen: list[str] = []

    @contextmanager
    def around(ctx: Context) -> Iterator[None]:
        try:
            yield
        except ZeroDivisionError:
            seen.append(f"{ctx.name} failed")
            raise
        seen.append(ctx.name)

    registry.rpc("zero")(lambda: 1 // 0)
    dispatcher = make(registry, around=around)
    invoke(dispatcher, "add", 1)
    assert invoke(dispatcher, "zero").status == 500
    headers, content = signed_request("invocation", "zero", token=TOKEN)
    assert asyncio.run(dispatcher.adispatch(headers, content)).status == 500
    assert seen == ["add", "zero failed", "zero failed"]


def test_coroutine_functions_are_surrounded_in_their_event_loop(registry: Registry) -> None:
    loops: list[bool] = []

    @contextmanager
    def around(ctx: Context) -> Iterator[None]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            loops.append(False)
        else:
            loops.append(True)
        yield

    @registry.rpc("later")
    async def later() -> None: ...

    dispatcher = make(registry, around=around)
    for name, args in (("later", []), ("add", [1])):
        headers, content = signed_request("invocation", name, args, token=TOKEN)
        assert dispatcher.dispatch(headers, content).status < 300
        assert asyncio.run(dispatcher.adispatch(headers, content)).status < 300
    assert loops == [True, True, False, False]


def test_threads_are_changed_once_and_only_for_plain_functions(registry: Registry) -> None:
    changes: list[None] = []

    async def run_sync(function: Callable[[], Any]) -> Any:
        changes.append(None)
        return await asyncio.to_thread(function)

    @registry.rpc("later")
    async def later() -> None: ...

    dispatcher = make(registry, run_sync=run_sync)
    for name, args, wanted in (("later", [], 0), ("add", [1], 1)):
        changes.clear()
        request = signed_request("invocation", name, args, token=TOKEN)
        assert asyncio.run(dispatcher.adispatch(*request)).status < 300
        assert len(changes) == wanted


def test_coroutine_functions(registry: Registry) -> None:
    @registry.rpc("later")
    async def later(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    dispatcher = make(registry)
    assert body(invoke(dispatcher, "later", 1)) == 2

    async def both() -> list[Any]:
        replies = await asyncio.gather(
            *(
                dispatcher.adispatch(*signed_request("invocation", name, [1], token=TOKEN))
                for name in ("later", "add")
            )
        )
        missing = await dispatcher.adispatch({}, b"")
        return [*(body(reply) for reply in replies), missing.status]

    assert asyncio.run(both()) == [2, 2, 401]


def test_a_cancelled_task_gives_its_claim_up(registry: Registry) -> None:
    @registry.sub("t")
    async def on_t() -> None:
        await asyncio.sleep(60)

    seen = MemorySeen()
    dispatcher = make(registry, seen=seen)

    async def work() -> None:
        request = signed_request("event", "t", token=TOKEN, id="evt_1")
        task = asyncio.create_task(dispatcher.adispatch(*request))
        while seen.add("probe") and seen.add("evt_1"):
            seen.discard("probe")
            seen.discard("evt_1")
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert seen.add("evt_1")


def test_memory_seen_forgets() -> None:
    seen = MemorySeen(capacity=2)
    for id in ("a", "b", "c"):
        assert seen.add(id)
        assert not seen.add(id)
        seen.done(id)
    assert [seen.is_done(id) for id in ("a", "b", "c")] == [False, True, True]
    assert MemorySeen(ttl=0).add("a")
    short = MemorySeen(ttl=0)
    short.done("a")
    assert not short.is_done("a")
