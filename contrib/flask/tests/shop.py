"""The tests' app, with what an app has that could stand in a callback's way: CSRF protection
and a login that everything needs."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, Response, abort, current_app, g, request
from flask_wtf import CSRFProtect

from anybridge_flask import AnyBridge, ApplicationError, Context, Gone, Later

TOKEN = "the-token-of-the-shop-0123456789"

bridge = AnyBridge()
csrf = CSRFProtect()
events: list[Any] = []
outcomes: list[Any] = []
failures = 0


@bridge.rpc("com.shop.add2")
def add2(a: int, b: int) -> int:
    return a + b


@bridge.rpc
def nothing() -> None:
    pass


@bridge.rpc("com.shop.where")
def where(*, ctx: Context) -> dict[str, Any]:
    """Where a handler runs, and for whom."""
    return {
        "app": current_app.name,
        "pid": os.getpid(),
        "g": g.get("seen_by_before_request", False),
        "token": ctx.token,
        "user": ctx.user,
    }


@bridge.rpc("com.shop.slowly")
async def slowly(text: str) -> list[str]:
    return [text, current_app.name]


@bridge.rpc("com.shop.fetch")
async def fetch(text: str) -> Any:
    """An asynchronous handler that asks the bridge itself."""
    return await bridge.acall("com.parts.upper", [text])


@bridge.rpc("com.shop.sell")
def sell(what: str) -> None:
    raise ApplicationError("com.shop.error.sold_out", [what], {"left": 0})


@bridge.rpc("com.shop.divide")
def divide(a: float, b: float) -> float:
    return a / b


@bridge.rpc("com.shop.busy")
def busy() -> None:
    raise Later(5)


@bridge.sub("com.shop.order", match="prefix")
def on_order(order: Any, *, ctx: Context) -> None:
    events.append((ctx.name, order))


@bridge.sub("com.shop.flaky")
def on_flaky(word: str) -> None:
    global failures
    if failures:
        failures -= 1
        raise OSError("not now")
    events.append(("flaky", word))


@bridge.sub("com.shop.quick", retry=["100ms", "100ms", "100ms"])
async def on_quick(word: str) -> None:
    on_flaky(word)


@bridge.sub("com.shop.closed")
def on_closed() -> None:
    raise Gone


@bridge.on_result
def on_result(ctx: Context, outcome: Any) -> None:
    outcomes.append((ctx.message_id, ctx.name, outcome))


def create_app(**settings: Any) -> Flask:
    app = Flask("shop")
    app.config["SECRET_KEY"] = "tests"
    app.config["MAX_CONTENT_LENGTH"] = 100_000
    app.config["ANYBRIDGE"] = {
        "URL": "http://127.0.0.1:9/",
        "TOKEN": TOKEN,
        "CALLBACK_URL": "http://localhost/wamp/",
        "TIMEOUT": 20,
        **settings,
    }
    csrf.init_app(app)
    bridge.init_app(app)

    @app.before_request
    def login_required() -> Response | None:
        g.seen_by_before_request = True
        if bridge.is_callback() or request.authorization:
            return None
        return abort(401)

    @app.get("/page/")
    def page() -> dict[str, Any]:
        from anybridge_flask import BridgeError

        try:
            return {"upper": bridge.call("com.parts.upper", ["tea"])}
        except BridgeError as error:
            return {"error": type(error).__name__}

    @app.post("/form/")
    def form() -> str:
        return "accepted"

    return app
