"""Against a real bridge: Flask serves, the bridge calls back, a WAMP component takes part."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from anybridge import Client
from anybridge.signing import derive_key
from flask import Flask
from werkzeug.serving import make_server

import shop
from anybridge_flask import NoSuchProcedure, RemoteError, Unavailable
from realbridge import NEW_TOKEN, TOKEN, Bridge, eventually, free_port


@contextmanager
def serving(app: Flask, token: str = TOKEN) -> Iterator[str]:
    """Serves the app in threads of this process and has the command register it. Yields the
    app's address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    address = f"http://127.0.0.1:{server.port}"
    app.config["ANYBRIDGE"] = {
        **app.config["ANYBRIDGE"],
        "TOKEN": token,
        "CALLBACK_URL": f"{address}/wamp/",
    }
    try:
        done = app.test_cli_runner().invoke(args=["anybridge", "sync", "--prune"])
        assert done.exit_code == 0, done.output
        yield address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def forget(url: str, token: str) -> None:
    with Client(url, token) as client:
        client.unregister([r["procedure"] for r in client.registrations()])
        client.unsubscribe([s["topic"] for s in client.subscriptions()])


@pytest.fixture
def app(app: Flask, real: Bridge) -> Iterator[Flask]:
    """The app, served and registered, in a context of it."""
    app.config["ANYBRIDGE"]["URL"] = real.url
    with serving(app), app.app_context():
        yield app
    forget(real.url, TOKEN)


def ask(procedure: str, *args: Any) -> dict[str, Any]:
    """What the component gets when it calls the procedure."""
    return dict(shop.bridge.call("com.parts.ask", [procedure, list(args)]))


def test_a_call_of_the_component(app: Flask) -> None:
    assert shop.bridge.call("com.parts.upper", ["tea"]) == "TEA"


def test_calls_by_the_component(app: Flask) -> None:
    assert ask("com.shop.add2", 20, 22) == {"value": 42}
    assert ask("com.shop.slowly", "é") == {"value": ["é", "shop"]}
    assert ask("com.shop.fetch", "there and back") == {"value": "THERE AND BACK"}
    assert ask("nothing") == {"value": None}


def test_errors_that_the_component_gets(app: Flask) -> None:
    assert ask("com.shop.sell", "tea") == {
        "error": "com.shop.error.sold_out",
        "args": ["tea"],
        "kwargs": {"left": 0},
    }
    assert ask("com.shop.unknown")["error"] == "wamp.error.no_such_procedure"
    failed = ask("com.shop.divide", 1, 0)
    assert failed["error"] == "anybridge.error.exception"
    assert "division" not in str(failed)


def test_errors_that_an_app_gets(app: Flask) -> None:
    with pytest.raises(NoSuchProcedure):
        shop.bridge.call("com.shop.unknown")
    with pytest.raises(RemoteError) as sold_out:
        shop.bridge.call("com.shop.sell", ["tea"])
    assert (sold_out.value.uri, sold_out.value.args) == ("com.shop.error.sold_out", ["tea"])
    with pytest.raises(RemoteError) as failed:
        shop.bridge.call("com.shop.divide", [1, 0])
    assert failed.value.uri == "anybridge.error.exception"
    assert failed.value.args == []
    app.debug = True
    with pytest.raises(RemoteError) as failed:
        shop.bridge.call("com.shop.divide", [1, 0])
    assert failed.value.args == ["ZeroDivisionError: division by zero"]
    assert "Traceback" not in str(vars(failed.value))


def test_a_procedure_that_the_app_has_no_more(app: Flask, real: Bridge) -> None:
    with Client(real.url, TOKEN) as client:
        client.register({"com.shop.gone": app.config["ANYBRIDGE"]["CALLBACK_URL"]})
    with pytest.raises(NoSuchProcedure):
        shop.bridge.call("com.shop.gone")
    assert ask("com.shop.gone")["error"] == "wamp.error.no_such_procedure"
    done = app.test_cli_runner().invoke(args=["anybridge", "sync", "--prune"])
    assert done.output.endswith("unregister com.shop.gone\n")
    held = {row["procedure"] for row in shop.bridge.client.registrations()}
    assert held == set(shop.bridge.registry.procedures)


def test_who_calls(app: Flask) -> None:
    told = shop.bridge.call("com.shop.where", user="alice")
    assert (told["token"], told["user"]) == ("app", "alice")
    assert (ask("com.shop.where")["value"]["token"], told["app"]) == ("", "shop")


def test_events_both_ways(app: Flask) -> None:
    shop.bridge.call("com.parts.tell", ["com.shop.order.new", ["of the component"]])
    eventually(lambda: shop.events)
    assert shop.events == [("com.shop.order.new", "of the component")]
    shop.bridge.publish("com.parts.news", ["of the app"])
    eventually(lambda: ["of the app"] in shop.bridge.call("com.parts.heard"))


def test_an_event_that_fails_comes_again_until_one_success(app: Flask) -> None:
    shop.failures = 1
    shop.bridge.publish("com.shop.quick", ["once"])

    def health() -> dict[str, Any]:
        rows = shop.bridge.client.subscriptions()
        return dict(next(row["health"] for row in rows if row["topic"] == "com.shop.quick"))

    eventually(lambda: health()["delivered"] and not health()["pending"])
    assert (health()["delivered"], health()["failed"]) == (1, 1)
    assert shop.events == [("flaky", "once")]


def test_gone_unsubscribes(app: Flask) -> None:
    def topics() -> set[str]:
        return {s["topic"] for s in shop.bridge.client.subscriptions()}

    assert "com.shop.closed" in topics()
    shop.bridge.publish("com.shop.closed")
    eventually(lambda: "com.shop.closed" not in topics())


def test_results_of_later_calls(app: Flask) -> None:
    id = shop.bridge.call_later("com.parts.upper", ["tea"])
    failing = shop.bridge.call_later("com.shop.sell", ["tea"])
    eventually(lambda: len(shop.outcomes) == 2)
    found = {call: (name, outcome) for call, name, outcome in shop.outcomes}
    assert (found[id][0], found[id][1].value) == ("com.parts.upper", "TEA")
    assert found[failing][1].uri == "com.shop.error.sold_out"


def test_a_new_token(app: Flask) -> None:
    def add() -> Any:
        return shop.bridge.call("com.shop.add2", [1, 2])

    config = app.config["ANYBRIDGE"]
    config |= {"TOKEN": NEW_TOKEN, "PREVIOUS_TOKEN": TOKEN}
    assert add() == 3  # what was registered with the previous token is signed by its key
    config["PREVIOUS_TOKEN"] = ""
    with pytest.raises(Unavailable):
        add()
    done = app.test_cli_runner().invoke(args=["anybridge", "sync"])
    assert done.exit_code == 0, done.output
    assert add() == 3  # signed by both keys from now on
    config["TOKEN"] = TOKEN
    assert add() == 3  # so a process that has not been restarted yet goes on
    config["TOKEN"] = "neither"
    with Client(config["URL"], NEW_TOKEN) as client, pytest.raises(Unavailable):
        client.call("com.shop.add2", [1, 2])


def test_a_page_while_the_bridge_is_down(app: Flask) -> None:
    web = app.test_client()
    assert web.get("/page/", auth=("a", "b")).json == {"upper": "TEA"}
    app.config["ANYBRIDGE"]["URL"] = f"http://127.0.0.1:{free_port()}/"
    before = time.monotonic()
    assert web.get("/page/", auth=("a", "b")).json == {"error": "Unavailable"}
    assert time.monotonic() - before < app.config["ANYBRIDGE"]["TIMEOUT"]
    with socket.socket() as hangs:
        hangs.bind(("127.0.0.1", 0))
        hangs.listen()
        url = f"http://127.0.0.1:{hangs.getsockname()[1]}/"
        app.config["ANYBRIDGE"] |= {"URL": url, "TIMEOUT": 0.5}
        assert web.get("/page/", auth=("a", "b")).json == {"error": "Timeout"}


def test_secrets_of_our_own(app: Flask) -> None:
    app.config["ANYBRIDGE"]["SECRETS"] = [derive_key("anything")]
    done = app.test_cli_runner().invoke(args=["anybridge", "sync"])
    assert done.exit_code == 0, done.output
    assert shop.bridge.call("com.shop.add2", [1, 2]) == 3
    app.config["ANYBRIDGE"]["SECRETS"] = []
    with pytest.raises(Unavailable):  # the app has forgotten the secret
        shop.bridge.call("com.shop.add2", [1, 2])
