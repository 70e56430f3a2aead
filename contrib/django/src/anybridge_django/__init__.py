"""Procedures, events, calls and publishes for Django, through an anybridge.

In ``bridge.py`` of any installed app::

    from anybridge_django import call, publish, rpc, sub

    @rpc("com.shop.add2")
    def add2(a, b):
        return a + b

    @sub("com.shop.order", match="prefix")
    def on_order(order, *, ctx): ...
"""

from anybridge import (
    ApplicationError,
    BridgeError,
    Context,
    Gone,
    Later,
    NoSuchProcedure,
    RemoteError,
    Result,
    Unavailable,
)

from .backends import get_client
from .handlers import registry, rpc, sub
from .sending import acall, apublish, call, publish
from .views import dispatcher

__all__ = [
    "ApplicationError",
    "BridgeError",
    "Context",
    "Gone",
    "Later",
    "NoSuchProcedure",
    "RemoteError",
    "Result",
    "Unavailable",
    "acall",
    "apublish",
    "call",
    "dispatcher",
    "get_client",
    "publish",
    "registry",
    "rpc",
    "sub",
]
