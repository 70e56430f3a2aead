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
    AuthError,
    BridgeError,
    Context,
    Gone,
    Later,
    NoSuchProcedure,
    RemoteError,
    Result,
    Timeout,
    Unavailable,
)

from . import runserver as runserver  # connects itself to the reloader
from .backends import get_client
from .handlers import registry, rpc, sub
from .results import on_result
from .sending import acall, apublish, call, call_later, call_result, publish
from .users import auser_of, user_of
from .views import dispatcher

__all__ = [
    "ApplicationError",
    "AuthError",
    "BridgeError",
    "Context",
    "Gone",
    "Later",
    "NoSuchProcedure",
    "RemoteError",
    "Result",
    "Timeout",
    "Unavailable",
    "acall",
    "apublish",
    "auser_of",
    "call",
    "call_later",
    "call_result",
    "dispatcher",
    "get_client",
    "on_result",
    "publish",
    "registry",
    "rpc",
    "sub",
    "user_of",
]
