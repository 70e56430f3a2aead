"""The client that calls and publishes: one per process and configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from anybridge import Client
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from .conf import Conf, conf, required

_clients: dict[tuple[str | Callable[..., Any], str, str, float], Client] = {}


def get_client() -> Client:
    """Return the client of the settings as they are now. It opens no socket before its first use.

    With another BACKEND this is an object with the methods of ``anybridge.Client``.
    """
    c = conf()
    key = (c.backend, c.url, c.token, c.timeout)
    client = _clients.get(key)
    if client is None:
        # No lock, which a fork could inherit while it is held. Of two threads that are first
        # at the same time one made a client for nothing, which has opened nothing.
        client = _clients.setdefault(key, _make(c))
    return client


def _make(c: Conf) -> Client:
    make = import_string(c.backend) if isinstance(c.backend, str) else c.backend
    url, token = required("URL", c.url), required("TOKEN", c.token)
    try:
        return cast(Client, make(url, token, timeout=c.timeout))
    except ValueError as error:
        raise ImproperlyConfigured(f"ANYBRIDGE: {error}") from None


def forget_clients(*, setting: str | None = None, **_: Any) -> None:
    """Close the clients after ANYBRIDGE was overridden in a test."""
    if setting == "ANYBRIDGE":
        while _clients:
            _clients.popitem()[1].close()


setting_changed.connect(forget_clients, dispatch_uid="anybridge_django.forget_clients")
