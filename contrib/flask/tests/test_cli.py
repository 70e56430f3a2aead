"""``flask anybridge``, without a bridge."""

from __future__ import annotations

from typing import Any

import pytest
from anybridge.testing import LocalBridge
from flask import Flask

import shop
from anybridge_flask import AnyBridge
from anybridge_flask.testing import local_bridge


def run(app: Flask, *words: str) -> tuple[int, str]:
    done = app.test_cli_runner().invoke(args=["anybridge", *words])
    return done.exit_code, done.output


def test_sync(app: Flask, anybridge: LocalBridge) -> None:
    _, dry = run(app, "sync", "--dry-run")
    assert "would register com.shop.add2\n" in dry
    assert (anybridge.registered, anybridge.subscribed) == ({}, {})
    status, out = run(app, "sync")
    assert (status, out) == (0, dry.replace("would ", ""))
    assert anybridge.registered["com.shop.add2"]["url"].startswith("http://localhost/wamp/?h=")
    assert anybridge.subscribed["com.shop.order"]["match"] == "prefix"


@pytest.mark.parametrize("settings", [{"CALLBACK_URL": ""}, {"CALLBACK_URL": None}])
def test_sync_without_a_callback_url(app: Flask, settings: dict[str, Any]) -> None:
    with local_bridge(app, **settings):
        status, out = run(app, "sync")
    assert status == 1
    assert 'ANYBRIDGE["CALLBACK_URL"] is not set: it is this app\'s address' in out
    assert "http://localhost:5000/wamp/" in out


def test_sync_with_a_callback_url_that_leads_elsewhere(app: Flask) -> None:
    with local_bridge(app, CALLBACK_URL="https://shop.example/bridge/"):
        status, out = run(app, "sync")
    assert status == 0
    assert "the dispatcher is at /wamp/, unlike https://shop.example/bridge/" in out
    with local_bridge(app, CALLBACK_URL="https://shop.example/wamp"):
        assert "unlike" not in run(app, "sync")[1]


def test_sync_with_two_handlers_of_one_name() -> None:
    app = Flask("twice")
    bridge = AnyBridge(app)
    bridge.rpc("com.one")(print)
    bridge.rpc("com.one")(repr)
    with local_bridge(app):
        status, out = run(app, "sync")
    assert status == 1
    assert "Two handlers of one name: procedure com.one" in out


def test_sync_without_handlers() -> None:
    app = Flask("empty")
    AnyBridge(app)
    with local_bridge(app):
        assert run(app, "sync") == (
            0,
            "There are no handlers: does the app import the module that has them?\n",
        )


def test_list(app: Flask) -> None:
    status, out = run(app, "list")
    assert status == 0
    assert "rpc  com.shop.add2  exact  shop.add2\n" in out
    assert "sub  com.shop.order  prefix  shop.on_order\n" in out


def test_call_and_publish(app: Flask, anybridge: LocalBridge) -> None:
    anybridge.respond("com.add", lambda a, b: a + b)
    assert run(app, "call", "com.add", "-5", "b=2") == (0, '{"args": [-3], "kwargs": {}}\n')
    assert run(app, "call", "com.nobody") == (
        1,
        "Error: The bridge: nobody has registered the procedure com.nobody\n",
    )
    status, out = run(app, "publish", "com.topic", "plain text", '{"a": 1}', "n=true")
    event = anybridge.outbox[0]
    assert (status, out) == (0, event.id + "\n")
    assert (event.args, event.kwargs) == (["plain text", {"a": 1}], {"n": True})


def test_bridge_that_is_away() -> None:
    status, out = run(shop.create_app(), "sync")
    assert (status, out) == (1, "Error: The bridge: the bridge at http://127.0.0.1:9 cannot be reached\n")  # noqa: E501  # fmt: skip
