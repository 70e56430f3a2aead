"""The client that calls and publishes: one per process and configuration."""

from __future__ import annotations

import threading
from typing import Any, cast

from anybridge import Client
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from .conf import Conf, conf, required

_lock = threading.Lock()
_clients: dict[tuple[str, str, str, float], Client] = {}


def get_client() -> Client:
    """Return the client of the settings as they are now. It opens no socket before its first use.

    With another BACKEND this is an object with the methods of ``anybridge.Client``.
    """
    c = conf()
    key = (c.backend, c.url, c.token, c.timeout)
    with _lock:
        client = _clients.get(key)
        if client is None:
            client = _clients[key] = _make(c)
        return client


def _make(c: Conf) -> Client:
    made = import_string(c.backend)(
        required("URL", c.url), required("TOKEN", c.token), timeout=c.timeout
    )
    return cast(Client, made)


def forget_clients(*, setting: str | None = None, **_: Any) -> None:
    """Close the clients after ANYBRIDGE was overridden in a test."""
    if setting not in (None, "ANYBRIDGE"):
        return
    with _lock:
        closing = list(_clients.values())
        _clients.clear()
    for client in closing:
        client.close()


setting_changed.connect(forget_clients, dispatch_uid="anybridge_django.forget_clients")
