"""Against a bridge that runs."""

from __future__ import annotations

import threading
import time
from datetime import date
from typing import Any

import pytest
from app import App, eventually
from bridge import OTHER_TOKEN, RESTRICTED_TOKEN, TOKEN, Bridge, free_port

from anybridge import (
    ApplicationError,
    AuthError,
    Client,
    Context,
    Gone,
    InvalidRequest,
    Later,
    NoSuchProcedure,
    RemoteError,
    Result,
    Timeout,
    Unavailable,
)


def install(client: Client, app: App) -> None:
    """Registers and subscribes everything that the app has."""
    procedures, topics = app.endpoints()
    if procedures:
        client.register(procedures)
    if topics:
        client.subscribe(topics)


def test_call_of_a_procedure(client: Client, app: App) -> None:
    contexts: list[Context] = []

    @app.registry.rpc("com.example.add")
    def add(a: int, b: int = 1, *, ctx: Context) -> int:
        contexts.append(ctx)
        return a + b

    install(client, app)
    assert client.call("com.example.add", [1, 2]) == 3
    assert client.call("com.example.add", (2**60,), {"b": 1}) == 2**60 + 1
    assert contexts[0].kind == "invocation"
    assert contexts[0].name == "com.example.add"
    assert contexts[0].headers["user-agent"].startswith("anybridge/")


@pytest.mark.parametrize(
    ("returned", "value"),
    [
        (None, None),
        ([1, "é\u2028", {"a": None}], [1, "é\u2028", {"a": None}]),
        ({"args": [1]}, {"args": [1]}),
        (date(2026, 1, 2), "2026-01-02"),
        (Result([1, 2], {"c": 3}), Result([1, 2], {"c": 3})),
        (Result(), None),
    ],
)
def test_what_a_procedure_returns_arrives(
    client: Client, app: App, returned: Any, value: Any
) -> None:
    app.registry.rpc("com.example.constant")(lambda: returned)
    install(client, app)
    assert client.call("com.example.constant") == value


def test_procedures_with_patterns_and_strange_names(client: Client, app: App) -> None:
    def name(*, ctx: Context) -> str:
        return ctx.name

    app.registry.rpc("com.example.many", match="prefix")(name)
    app.registry.rpc("com.example..one", match="wildcard")(name)
    app.registry.rpc("com.example.a/b?c=é%")(name)
    install(client, app)
    for called in ("com.example.many.of.them", "com.example.this.one", "com.example.a/b?c=é%"):
        assert client.call(called) == called


def test_no_such_procedure(client: Client) -> None:
    with pytest.raises(NoSuchProcedure, match=r"com\.example\.nobody") as caught:
        client.call("com.example.nobody")
    assert (caught.value.status, caught.value.code) == (404, "no_such_procedure")


def test_an_error_of_the_procedure(client: Client, app: App) -> None:
    @app.registry.rpc("com.example.sell")
    def sell(product: str) -> None:
        raise ApplicationError("com.example.sold_out", [product], {"until": 2027})

    install(client, app)
    with pytest.raises(RemoteError) as caught:
        client.call("com.example.sell", ["tea"])
    error = caught.value
    assert (error.uri, error.args, error.kwargs) == (
        "com.example.sold_out",
        ["tea"],
        {"until": 2027},
    )
    with pytest.raises(InvalidRequest, match="missing a required argument: 'product'"):
        client.call("com.example.sell")


def test_an_exception_of_the_procedure(client: Client, app: App) -> None:
    app.registry.rpc("com.example.fail")(lambda: 1 / 0)
    install(client, app)
    with pytest.raises(RemoteError) as caught:
        client.call("com.example.fail")
    assert caught.value.uri == "anybridge.error.exception"
    assert caught.value.args == ["ZeroDivisionError: division by zero"]


def test_a_call_that_takes_too_long(client: Client, app: App) -> None:
    done = threading.Event()
    app.registry.rpc("com.example.slow")(lambda: done.wait(20))
    install(client, app)
    start = time.monotonic()
    with pytest.raises(Timeout):
        client.call("com.example.slow", timeout=0.3)
    assert time.monotonic() - start < 5
    done.set()


def test_a_procedure_that_wants_the_caller_to_wait(client: Client, app: App) -> None:
    @app.registry.rpc("com.example.busy")
    def busy() -> None:
        raise Later(7)

    install(client, app)
    with pytest.raises(Unavailable) as caught:
        client.call("com.example.busy")
    assert caught.value.status == 503


def test_rights(shared_bridge: Bridge) -> None:
    with (
        Client(shared_bridge.url, "nobodys-token") as stranger,
        pytest.raises(AuthError) as caught,
    ):
        stranger.publish("com.example.t")
    assert caught.value.status == 401
    with Client(shared_bridge.url, RESTRICTED_TOKEN) as restricted:
        assert restricted.publish("com.example.allowed")
        with pytest.raises(AuthError) as caught:
            restricted.publish("com.example.other")
    assert caught.value.status == 403


def test_what_cannot_be_registered(client: Client, app: App, shared_bridge: Bridge) -> None:
    app.registry.rpc("com.example.mine")(lambda: "mine")
    install(client, app)
    with Client(shared_bridge.url, OTHER_TOKEN) as other:
        with pytest.raises(InvalidRequest) as caught:
            other.register({"com.example.mine": app.url})
        assert caught.value.status == 409
    with pytest.raises(InvalidRequest) as caught:
        client.register({"com.example.p": "http://10.0.0.1/"})
    assert (caught.value.status, caught.value.code) == (422, "callback_not_allowed")
    with pytest.raises(InvalidRequest) as caught:
        client.register({"com.example.p": {"url": app.url, "colour": "red"}})
    assert caught.value.status == 400


def test_registering_again_and_giving_up(client: Client, app: App) -> None:
    app.registry.rpc("com.example.p")(lambda: None)
    app.registry.sub("com.example.t", match="prefix", retry=[1, "2s"])(lambda: None)
    procedures, topics = app.endpoints()
    assert client.register(procedures) == client.register(procedures)
    assert client.subscribe(topics)["com.example.t"]["id"].startswith("sub_")
    (registration,) = client.registrations()
    assert registration["url"] == procedures["com.example.p"]["url"]
    (subscription,) = client.subscriptions()
    assert (subscription["match"], subscription["retry"]) == ("prefix", [1, 2])
    assert client.unregister(["com.example.p", "com.example.q"]) == {
        "unregistered": ["com.example.p"],
        "unknown": ["com.example.q"],
    }
    assert client.unsubscribe(topics)["unsubscribed"] == ["com.example.t"]
    assert client.registrations() == client.subscriptions() == []


def test_events_are_delivered(client: Client, app: App) -> None:
    came: list[tuple[tuple[Any, ...], dict[str, Any], Context]] = []

    @app.registry.sub("com.example.news", match="prefix")
    def on_news(*args: Any, ctx: Context, **kwargs: Any) -> None:
        came.append((args, kwargs, ctx))

    install(client, app)
    id = client.publish("com.example.news.today", ["rain", 2], {"where": "here"})
    eventually(lambda: bool(came), "the event comes")
    args, kwargs, ctx = came[0]
    assert (args, kwargs) == (("rain", 2), {"where": "here"})
    assert (ctx.kind, ctx.name, ctx.message_id) == ("event", "com.example.news.today", id)
    assert ctx.time is not None
    assert abs(ctx.time.timestamp() - time.time()) < 60


def test_two_subscriptions_for_one_topic_run_once_each(client: Client, app: App) -> None:
    came: list[str] = []
    app.registry.sub("com.example", match="prefix")(lambda: came.append("prefix"))
    app.registry.sub("com..order", match="wildcard")(lambda: came.append("wildcard"))
    app.registry.sub("com.example.order")(lambda: came.append("exact"))
    install(client, app)
    client.publish("com.example.order")
    client.publish("com.example.end")
    eventually(lambda: len(came) >= 4, "the events come")
    assert sorted(came) == ["exact", "prefix", "prefix", "wildcard"]


def test_a_handler_that_fails_once_gets_the_event_again(client: Client, app: App) -> None:
    tried: list[str] = []
    succeeded: list[str] = []

    @app.registry.sub("com.example.flaky", retry=["100ms", "100ms", "100ms"])
    def on_flaky(order: str, *, ctx: Context) -> None:
        tried.append(ctx.id)
        if len(tried) == 1:
            raise RuntimeError("the first time fails")
        succeeded.append(order)

    install(client, app)
    client.publish("com.example.flaky", ["tea"])
    eventually(lambda: bool(succeeded), "the event comes again")
    time.sleep(0.5)
    assert succeeded == ["tea"]
    assert len(tried) == 2
    assert len(set(tried)) == 1
    assert [reply.status for reply in app.replies] == [500, 204]


def test_a_handler_that_wants_no_more(client: Client, app: App) -> None:
    @app.registry.sub("com.example.enough")
    def on_enough() -> None:
        raise Gone

    install(client, app)
    client.publish("com.example.enough")
    eventually(lambda: client.subscriptions() == [], "the bridge unsubscribes it")


def test_exclude_me(client: Client, app: App, shared_bridge: Bridge) -> None:
    came: list[str] = []
    app.registry.sub("com.example.chat")(came.append)
    install(client, app)
    client.publish("com.example.chat", ["mine"], exclude_me=True)
    with Client(shared_bridge.url, OTHER_TOKEN) as other:
        other.publish("com.example.chat", ["theirs"])
    eventually(lambda: bool(came), "the event of the other comes")
    assert came == ["theirs"]


def test_the_same_key_publishes_once(client: Client, app: App) -> None:
    came: list[str] = []
    app.registry.sub("com.example.keyed", ordered=True)(came.append)
    install(client, app)
    ids = {client.publish("com.example.keyed", ["one"], key="order-1") for _ in range(3)}
    client.publish("com.example.keyed", ["end"])
    eventually(lambda: "end" in came, "the events come")
    assert (len(ids), came) == (1, ["one", "end"])
    with pytest.raises(InvalidRequest) as caught:
        client.publish("com.example.keyed", ["other"], key="order-1")
    assert caught.value.code == "idempotency_key_reused"


def test_call_later(client: Client, app: App) -> None:
    @app.registry.rpc("com.example.divide")
    def divide(a: int, b: int) -> float:
        if b == 0:
            raise ApplicationError("com.example.by_zero", [a])
        return a / b

    install(client, app)
    ids = [
        client.call_later("com.example.divide", [1, 4], callback=app.url),
        client.call_later("com.example.divide", [1, 0], callback=app.url),
        client.call_later("com.example.nobody.at.all", callback=app.url),
    ]
    eventually(lambda: len(app.results) == 3, "the results come")
    results = {ctx.message_id: (ctx.name, outcome) for ctx, outcome in app.results}
    assert results[ids[0]] == ("com.example.divide", Result([0.25]))
    error = results[ids[1]][1]
    assert isinstance(error, RemoteError)
    assert (error.uri, error.args) == ("com.example.by_zero", [1])
    assert isinstance(results[ids[2]][1], NoSuchProcedure)


def test_publish_while_the_bridge_is_killed_and_started_again(own_bridge: Bridge) -> None:
    came: list[tuple[int, str]] = []
    with App() as app, Client(own_bridge.url, TOKEN, timeout=30, retries=100) as client:

        @app.registry.sub("com.example.counted", retry=["200ms"] * 50)
        def on_counted(number: int, *, ctx: Context) -> None:
            came.append((number, ctx.message_id))

        install(client, app)
        ids: dict[int, str] = {}

        def publish_all() -> None:
            for number in range(300):
                ids[number] = client.publish("com.example.counted", [number])

        publisher = threading.Thread(target=publish_all)
        publisher.start()
        for _ in range(2):
            reached = len(ids) + 40
            eventually(lambda n=reached: len(ids) >= n, "events are published")  # type: ignore[misc]
            own_bridge.kill()
            time.sleep(0.2)
            own_bridge.start()
        publisher.join(60)
        assert len(ids) == 300, own_bridge.log()
        eventually(lambda: len({n for n, _ in came}) == 300, "every event comes")
        time.sleep(0.3)
    assert len(came) == 300, "each is handled once"
    assert dict(came) == ids, "under the id that publish returned"


def test_a_bridge_that_is_down() -> None:
    with Client(f"http://127.0.0.1:{free_port()}", TOKEN, timeout=3) as client:
        for ask in (lambda: client.call("com.example.p"), lambda: client.publish("com.example.t")):
            start = time.monotonic()
            with pytest.raises(Unavailable, match="cannot be reached") as caught:
                ask()
            assert time.monotonic() - start < 3
            assert caught.value.status is None


def test_a_bridge_that_comes_back(own_bridge: Bridge) -> None:
    with Client(own_bridge.url, TOKEN, timeout=20, retries=50) as client:
        client.publish("com.example.before")
        own_bridge.kill()
        restart = threading.Timer(0.3, own_bridge.start)
        restart.start()
        with pytest.raises(NoSuchProcedure):  # asked again until there was a connection
            client.call("com.example.nobody")
        restart.join()
