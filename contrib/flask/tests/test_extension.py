"""Decorators, apps and configurations."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from flask import Flask, url_for

import shop
from anybridge_flask import AnyBridge, ConfigError
from anybridge_flask.testing import BridgeClient, local_bridge

GOOD = {"URL": "http://127.0.0.1:9/", "TOKEN": "a-token"}


def make_app(**config: Any) -> Flask:
    app = Flask("made")
    app.config.update(config)
    return app


def test_decorators_return_the_function_unchanged() -> None:
    bridge = AnyBridge()

    def f(a: int) -> int:
        return a

    assert bridge.rpc(f) is f
    assert bridge.rpc()(f) is f
    assert bridge.rpc("com.f", match="prefix", timeout=3)(f) is f
    assert bridge.sub(f) is f
    assert bridge.sub()(f) is f
    assert bridge.sub("com.f", match="wildcard", ordered=True)(f) is f
    assert set(bridge.registry.procedures) == {"f", "com.f"}
    assert [s.name for s in bridge.registry.subscriptions] == ["f", "com.f"]
    assert bridge.registry.subscriptions[1].options == {"ordered": True}


def test_one_bridge_on_two_apps_has_two_configurations() -> None:
    bridge = AnyBridge()
    bridge.rpc("com.name")(lambda: url_for("anybridge.dispatcher"))
    north = make_app(ANYBRIDGE={**GOOD, "PATH": "/north/"})
    south = make_app(ANYBRIDGE={**GOOD, "TOKEN": "another", "PATH": "/south"})
    for app in (north, south):
        bridge.init_app(app)
    with local_bridge(north) as one, local_bridge(south) as other:
        assert BridgeClient(north).invoke("com.name").json == "/north/"
        assert BridgeClient(south).invoke("com.name").json == "/south"
        assert BridgeClient(south).invoke("com.name", token=GOOD["TOKEN"]).status_code == 401
        with north.app_context():
            bridge.publish("com.north")
        assert ([e.topic for e in one.outbox], other.outbox) == (["com.north"], [])


def test_two_bridges_on_one_app() -> None:
    app = make_app(ANYBRIDGE=GOOD, ANYBRIDGE_PLANT={**GOOD, "TOKEN": "plant"})
    one, plant = AnyBridge(app), AnyBridge(app, name="plant")
    one.rpc("com.which")(lambda: [one.is_callback(), plant.is_callback()])
    plant.rpc("com.which")(lambda: [one.is_callback(), plant.is_callback()])
    with local_bridge(app) as local, local_bridge(app, "plant") as local_plant:
        assert BridgeClient(app).invoke("com.which").json == [True, False]
        assert BridgeClient(app, "plant").invoke("com.which").json == [False, True]
        assert BridgeClient(app, "plant").invoke("com.which", token="a-token").status_code == 401
        with app.app_context():
            plant.publish("com.plant")
        assert (len(local.outbox), len(local_plant.outbox)) == (0, 1)
    assert {str(r) for r in app.url_map.iter_rules("anybridge_plant.dispatcher")} == {
        "/wamp/plant/"
    }
    assert {"anybridge", "anybridge-plant"} <= set(app.cli.commands)


def test_bridges_that_clash() -> None:
    app = make_app(ANYBRIDGE_PLANT={"PATH": "/wamp"})
    bridge = AnyBridge(app)
    with pytest.raises(ConfigError, match="AnyBridge\\(name="):
        bridge.init_app(app)
    with pytest.raises(ConfigError, match="AnyBridge\\(name="):
        AnyBridge(app)
    with pytest.raises(ConfigError, match='ANYBRIDGE_PLANT\\["PATH"\\]'):
        AnyBridge(app, name="plant")
    with pytest.raises(ValueError, match="lower case"):
        AnyBridge(name="Plant 1")


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("http://127.0.0.1:9/", "to be a dict"),
        ({"TOKN": "x"}, "unknown key 'TOKN': did you mean TOKEN?"),
        ({"token": "x"}, "unknown key 'token': did you mean TOKEN?"),
        ({"COLOUR": "x"}, "known are URL, TOKEN"),
        ({"TIMEOUT": "soon"}, '"TIMEOUT"]: it is a number of seconds'),
        ({"TOLERANCE": 0}, '"TOLERANCE"]: it is a number of seconds'),
        ({"SECRETS": ["whsec_!"]}, '"SECRETS"]: each is whsec_'),
        ({"SECRETS": 5}, '"SECRETS"]: each is whsec_'),
        ({"PATH": "wamp/"}, '"PATH"]: it begins with a slash'),
        ({"TOKEN": 1.5}, '"TOKEN"]: it is a text'),
    ],
)
def test_configuration_that_is_wrong(config: Any, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        AnyBridge(make_app(ANYBRIDGE=config))
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (None, 'ANYBRIDGE["URL"] is not set'),
        ({"URL": "http://127.0.0.1:9/", "TOKEN": None}, 'ANYBRIDGE["TOKEN"] is not set'),
        ({"URL": "127.0.0.1:9", "TOKEN": "x"}, "is no http URL"),
    ],
)
def test_configuration_that_is_missing_is_told_when_it_is_needed(config: Any, told: str) -> None:
    app = make_app(ANYBRIDGE=config)
    bridge = AnyBridge(app)
    with app.app_context(), pytest.raises(ConfigError) as raised:
        bridge.publish("com.topic")
    assert told in str(raised.value)


def test_configuration_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"URL": "http://127.0.0.1:9/", "TOKEN": "12345", "TIMEOUT": "3"}.items():
        monkeypatch.setenv(f"FLASK_ANYBRIDGE__{name}", value)
    app = make_app()
    app.config.from_prefixed_env()
    bridge = AnyBridge(app)
    with app.app_context():
        assert (bridge.client.url, bridge.client.timeout) == ("http://127.0.0.1:9", 3)


def test_configuration_may_change() -> None:
    app = make_app(ANYBRIDGE=dict(GOOD))
    bridge = AnyBridge(app)
    with app.app_context():
        first = bridge.client
        assert bridge.client is first
        app.config["ANYBRIDGE"]["URL"] = "http://127.0.0.2:9/"
        assert bridge.client.url == "http://127.0.0.2:9"


def test_bridge_without_an_app() -> None:
    bridge = AnyBridge()
    with pytest.raises(RuntimeError, match="application context"):
        bridge.call("com.add2")
    with make_app().app_context(), pytest.raises(ConfigError, match="init_app"):
        bridge.call("com.add2")
    app = make_app(ANYBRIDGE=GOOD)
    AnyBridge(app)
    with app.app_context(), pytest.raises(ConfigError, match="init_app"):
        bridge.call("com.add2")  # of another bridge is not what is meant


def test_call_later(app: Flask) -> None:
    with local_bridge(app) as local, app.app_context():
        id = shop.bridge.call_later("com.price", ["tea"], user="alice")
        assert local.calls[0].callback == "http://localhost/wamp/"
        assert (local.calls[0].procedure, local.calls[0].user) == ("com.price", "alice")
        shop.bridge.call_later("com.price", callback="http://elsewhere/")
        assert local.calls[1].callback == "http://elsewhere/"
        BridgeClient(app).result(id, "com.price", [3])
    assert [(i, n, o.value) for i, n, o in shop.outcomes] == [(id, "com.price", 3)]
    bridge = AnyBridge()
    other = make_app(ANYBRIDGE=GOOD)
    bridge.init_app(other)
    with other.app_context(), pytest.raises(ConfigError, match="on_result"):
        bridge.call_later("com.price")
    bridge.on_result(lambda ctx, outcome: None)
    with pytest.raises(ConfigError, match="one function"):
        bridge.on_result(print)


def test_asynchronous_calls(app: Flask) -> None:
    @app.get("/async/")
    async def view() -> Any:
        id = await shop.bridge.apublish("com.viewed", ["x"], key="k")
        return [id, await shop.bridge.acall("com.price", ["tea"])]

    with local_bridge(app) as local:
        local.respond("com.price", 3)
        answer = app.test_client().get("/async/", auth=("a", "b")).json
    assert answer == [local.outbox[0].id, 3]


def test_importing_and_initialising_starts_no_thread_and_opens_no_socket() -> None:
    program = (
        "import sys, threading\n"
        "import urllib3\n"  # binds a socket and closes it, to learn whether there is IPv6
        "watched, seen = ('socket.connect', 'socket.bind', '_thread.start_new_thread'), []\n"
        "sys.addaudithook(lambda event, _: event in watched and seen.append(event))\n"
        "import shop\n"
        "app = shop.create_app()\n"
        "with app.app_context():\n"
        "    shop.bridge.client\n"
        "assert not seen, seen\n"
        "assert threading.active_count() == 1\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_left_of_a_local_bridge(app: Flask) -> None:
    before = dict(app.config["ANYBRIDGE"])
    with local_bridge(app, TOLERANCE=5), local_bridge(app, TOKEN="inner"):
        assert app.config["ANYBRIDGE"]["TOLERANCE"] == 5
    assert app.config["ANYBRIDGE"] == before
    with app.app_context():
        assert shop.bridge.client.url == "http://127.0.0.1:9"
