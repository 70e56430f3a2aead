"""Callbacks, as the bridge would post them, through Flask's test client."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from anybridge.signing import derive_key
from anybridge.testing import signed_request
from cachelib import FileSystemCache
from flask import Flask
from flask_caching import Cache
from flask_wtf import CSRFProtect

import anybridge_flask
import shop
from anybridge_flask import AnyBridge, CacheSeen
from anybridge_flask.testing import BridgeClient, LocalBridge, local_bridge


def test_values(anybridge_client: BridgeClient) -> None:
    invoke = anybridge_client.invoke
    assert invoke("com.shop.add2", [20, 22]).json == 42
    assert invoke("com.shop.add2", [20], {"b": 22}).json == 42
    nothing = invoke("nothing")
    assert (nothing.status_code, nothing.data, "Content-Type" in nothing.headers) == (
        204,
        b"",
        False,
    )
    assert invoke("com.shop.slowly", ["é"]).json == ["é", "shop"]


def test_handlers_run_in_the_request(anybridge_client: BridgeClient) -> None:
    details = {"caller_token": "mobile", "caller_user": "alice"}
    answer = anybridge_client.invoke("com.shop.where", details=details).json
    assert isinstance(answer, dict)
    assert answer["app"] == "shop"
    assert answer["g"] is True
    assert (answer["token"], answer["user"]) == ("mobile", "alice")


def test_errors(anybridge_client: BridgeClient, app: Flask) -> None:
    invoke = anybridge_client.invoke
    sold_out = invoke("com.shop.sell", ["tea"]).json
    assert isinstance(sold_out, dict)
    assert (sold_out["error"], sold_out["args"], sold_out["kwargs"]) == (
        "com.shop.error.sold_out",
        ["tea"],
        {"left": 0},
    )
    failed = invoke("com.shop.divide", [1, 0])
    assert failed.status_code == 500
    assert "division" not in failed.text
    assert "Traceback" not in failed.text
    app.debug = True
    failed = invoke("com.shop.divide", [1, 0])
    assert failed.status_code == 500
    assert failed.json["args"] == ["ZeroDivisionError: division by zero"]  # type: ignore[index]
    assert "Traceback" not in failed.text
    misfit = invoke("com.shop.add2", [1]).json
    assert misfit["error"] == "wamp.error.invalid_argument"  # type: ignore[index]
    unknown = invoke("com.shop.unknown")
    assert unknown.status_code == 404
    assert unknown.json["type"] == "urn:anybridge:error:no_such_procedure"  # type: ignore[index]
    busy = invoke("com.shop.busy")
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "5")


def test_events(anybridge_client: BridgeClient) -> None:
    deliver = anybridge_client.deliver
    assert deliver("com.shop.order.new", ["tea"], id="one").status_code == 204
    assert deliver("com.shop.order.new", ["tea"], id="one").status_code == 200
    assert shop.events == [("com.shop.order.new", "tea")]
    assert deliver("com.shop.closed").status_code == 410
    assert deliver("com.shop.nobody").status_code == 404


def test_event_whose_handler_failed_is_handled_when_it_comes_again(
    anybridge_client: BridgeClient,
) -> None:
    shop.failures = 1
    answers = [anybridge_client.deliver("com.shop.flaky", ["x"], id="f") for _ in range(3)]
    assert [a.status_code for a in answers] == [500, 204, 200]
    assert shop.events == [("flaky", "x")]


def test_results(anybridge_client: BridgeClient) -> None:
    assert anybridge_client.result("c1", "com.price", [3], id="r").status_code == 204
    assert anybridge_client.result("c1", "com.price", [3], id="r").status_code == 200
    anybridge_client.result("c2", "com.price", ["tea"], error="com.error")
    (one, _, value), (two, name, error) = shop.outcomes
    assert (one, value.value) == ("c1", 3)
    assert (two, name, error.uri, error.args) == ("c2", "com.price", "com.error", ["tea"])


def test_forged_and_stale(anybridge_client: BridgeClient) -> None:
    invoke, now = anybridge_client.invoke, int(time.time())
    assert invoke("com.shop.add2", [1, 2], token="not-ours").status_code == 401
    assert invoke("com.shop.add2", [1, 2], timestamp=now - 400).status_code == 401
    assert invoke("com.shop.add2", [1, 2], timestamp=now + 400).status_code == 401
    assert invoke("com.shop.add2", [1, 2], timestamp=now - 100).status_code == 200


def test_changed_and_unsigned(app: Flask) -> None:
    web = app.test_client()
    headers, body = signed_request("invocation", "com.shop.add2", [1, 2], token=shop.TOKEN)
    assert web.post("/wamp/", data=body, headers=headers).json == 3
    assert web.post("/wamp/", data=body + b" ", headers=headers).status_code == 401
    assert web.post("/wamp/", data=body, content_type="application/json").status_code == 401
    assert web.get("/wamp/", auth=("a", "b")).status_code == 405


def test_without_the_slash(app: Flask) -> None:
    headers, body = signed_request("invocation", "com.shop.add2", [1, 2], token=shop.TOKEN)
    assert app.test_client().post("/wamp", data=body, headers=headers).json == 3


def test_two_keys_while_the_token_changes(app: Flask) -> None:
    with local_bridge(app, TOKEN="new", PREVIOUS_TOKEN="old"):
        client = BridgeClient(app)
        assert client.invoke("com.shop.add2", [1, 2], token="old").json == 3
        assert client.invoke("com.shop.add2", [1, 2], token="new").json == 3
    with local_bridge(app, TOKEN="new", PREVIOUS_TOKEN=None):
        assert client.invoke("com.shop.add2", [1, 2], token="old").status_code == 401


def test_secrets_of_our_own(app: Flask) -> None:
    with local_bridge(app, SECRETS=[derive_key("x"), derive_key("y")]):
        assert BridgeClient(app).invoke("com.shop.add2", [1, 2], token="y").json == 3


def test_too_large_a_body(anybridge_client: BridgeClient) -> None:
    assert anybridge_client.deliver("com.shop.order", ["x" * 200_000]).status_code == 413
    assert shop.events == []


def test_everything_else_needs_its_csrf_token_and_login(app: Flask) -> None:
    web = app.test_client()
    assert web.post("/form/", auth=("a", "b")).status_code == 400
    assert web.get("/page/").status_code == 401


@pytest.mark.parametrize("csrf_first", [True, False])
def test_csrf_protection_in_any_order(csrf_first: bool) -> None:
    app = Flask("csrf")
    app.config["SECRET_KEY"] = "tests"
    bridge, csrf = AnyBridge(), CSRFProtect()
    bridge.rpc("com.one")(lambda: 1)
    for extension in [csrf, bridge] if csrf_first else [bridge, csrf]:
        extension.init_app(app)
    with local_bridge(app):
        assert BridgeClient(app).invoke("com.one").json == 1


def test_async_handlers_without_asgiref(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "asgiref.sync", None)
    with local_bridge(app):
        assert BridgeClient(app).invoke("com.shop.slowly", ["x"]).status_code == 500
        assert BridgeClient(app).invoke("com.shop.add2", [1, 2]).json == 3
    assert "Install Flask with the 'async' extra" in caplog.text
    done = app.test_cli_runner().invoke(args=["anybridge", "sync"])
    assert done.exit_code == 1
    assert "shop.slowly is async: Install Flask with the 'async' extra" in done.output


def test_signals(
    app: Flask, anybridge: LocalBridge, anybridge_client: BridgeClient,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    told: list[Any] = []

    def receive(sender: Flask, **values: Any) -> None:
        told.append((sender, values))
        raise ValueError("of the receiver")

    names = ["event_received", "invocation_received", "handler_failed", "published"]
    for name in names:
        getattr(anybridge_flask, name).connect(receive, app)
    assert anybridge_client.deliver("com.shop.order", ["tea"]).status_code == 204
    assert anybridge_client.invoke("com.shop.divide", [1, 0]).status_code == 500
    with app.app_context():
        id = shop.bridge.publish("com.topic", (1,), {"a": 2})
    assert all(sender is app and values.pop("bridge") is shop.bridge for sender, values in told)
    event, invocation, failed, published = [values for _, values in told]
    assert event["context"].name == "com.shop.order"
    assert invocation["context"].name == failed["context"].name == "com.shop.divide"
    assert isinstance(failed["exception"], ZeroDivisionError)
    assert published == {"topic": "com.topic", "args": [1], "kwargs": {"a": 2}, "id": id}
    assert caplog.text.count("ValueError: of the receiver") == 4
    assert {r.name for r in caplog.records if r.levelno >= logging.ERROR} == {
        "anybridge",
        "anybridge_flask",
    }


@pytest.mark.parametrize("kind", ["cachelib", "Flask-Caching"])
def test_events_are_known_to_all_processes_that_share_a_cache(kind: str, tmp_path: Any) -> None:
    handled: list[str] = []

    def process() -> BridgeClient:
        """What another process has: everything of its own but the folder."""
        app = Flask("shared")
        if kind == "cachelib":
            bridge = AnyBridge(seen=CacheSeen(FileSystemCache(str(tmp_path))))
        else:
            cache = Cache(config={"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path)})
            cache.init_app(app)
            bridge = AnyBridge(seen=CacheSeen(cache))

        @bridge.sub("com.topic")
        def topic(fails: bool = False) -> None:
            handled.append("fails" if fails else "done")
            if fails:
                raise OSError

        app.config["ANYBRIDGE"] = {"TOKEN": "shared"}
        bridge.init_app(app)
        return BridgeClient(app)

    one, other = process(), process()
    assert one.deliver("com.topic", id="a").status_code == 204
    assert other.deliver("com.topic", id="a").status_code == 200
    assert one.deliver("com.topic", [True], id="b").status_code == 500
    assert other.deliver("com.topic", id="b").status_code == 204
    assert handled == ["done", "fails", "done"]


def test_the_claim_of_a_process_that_was_killed_lapses(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, now = CacheSeen(FileSystemCache(str(tmp_path))), time.time()
    assert seen.add("a")
    assert not seen.add("a")
    monkeypatch.setattr("cachelib.file.time", lambda: now + 3600)
    assert seen.add("a")
    assert not seen.add("a")


def test_an_event_that_is_being_handled_elsewhere_is_put_off(app: Flask) -> None:
    seen = app.extensions["anybridge"].seen
    assert seen.add("busy")
    with local_bridge(app):
        assert BridgeClient(app).deliver("com.shop.order", ["x"], id="busy").status_code == 503
    assert shop.events == []
