"""Procedures, events, calls and publishes for Flask, through an anybridge.

::

    from anybridge_flask import AnyBridge

    bridge = AnyBridge()

    @bridge.rpc("com.shop.add2")
    def add2(a, b):
        return a + b

    @bridge.sub("com.shop.order", match="prefix")
    def on_order(order, *, ctx): ...

    def create_app():
        app = Flask(__name__)
        app.config["ANYBRIDGE"] = {"URL": …, "TOKEN": …, "CALLBACK_URL": …}
        bridge.init_app(app)
        return app
"""

from anybridge import (
    ApplicationError,
    AuthError,
    BridgeError,
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

from .conf import ConfigError
from .extension import AnyBridge
from .seen import CacheSeen
from .signals import event_received, handler_failed, invocation_received, published

__all__ = [
    "AnyBridge",
    "ApplicationError",
    "AuthError",
    "BridgeError",
    "CacheSeen",
    "ConfigError",
    "Context",
    "Gone",
    "InvalidRequest",
    "Later",
    "NoSuchProcedure",
    "RemoteError",
    "Result",
    "Timeout",
    "Unavailable",
    "event_received",
    "handler_failed",
    "invocation_received",
    "published",
]
