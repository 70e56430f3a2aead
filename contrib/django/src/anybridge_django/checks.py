"""System checks: what would otherwise be found out by a callback that does not come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from anybridge import Client
from anybridge.signing import sign
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.http.request import validate_host
from django.urls import Resolver404, URLResolver, get_resolver, resolve

from .conf import KEYS, Conf, conf, raw
from .handlers import registry
from .results import results
from .views import dispatcher


@register()
def check_settings(**_: Any) -> list[CheckMessage]:
    """ANYBRIDGE has what is needed, and nothing misspelt."""
    found: list[CheckMessage] = []
    if unknown := sorted(str(k) for k in set(raw()) - KEYS):
        found.append(
            Error(
                f"ANYBRIDGE has unknown keys: {', '.join(unknown)}",
                hint=f"Known are {', '.join(sorted(KEYS))}",
                id="anybridge.E005",
            )
        )
    try:
        c = conf()
    except ImproperlyConfigured as error:
        return [*found, Error(str(error), id="anybridge.E008")]
    if urlsplit(c.url).scheme not in ("http", "https"):
        found.append(
            Error(
                'ANYBRIDGE["URL"] is not the address of a bridge',
                hint='ANYBRIDGE = {"URL": "http://localhost:8181/", "TOKEN": …}',
                id="anybridge.E001",
            )
        )
    if not c.token:
        found.append(Error('ANYBRIDGE["TOKEN"] is not set', id="anybridge.E002"))
    elif wrong := _wrong_token(c.token):
        found.append(Error(f'ANYBRIDGE["TOKEN"]: {wrong}', id="anybridge.E002"))
    if c.cache not in settings.CACHES:
        found.append(Error(f'ANYBRIDGE["CACHE"]: no cache {c.cache!r}', id="anybridge.E009"))
    try:
        sign(c.secrets, "id", 0, b"")
    except ValueError as error:
        found.append(Error(f'ANYBRIDGE["SECRETS"]: {error}', id="anybridge.E007"))
    return [*found, *_callback_url(c)]


def _wrong_token(token: str) -> str:
    try:
        Client("http://localhost/", token)  # opens nothing
    except ValueError as error:
        return str(error)
    return ""


def _callback_url(c: Conf) -> Iterator[CheckMessage]:
    callback = urlsplit(c.callback_url)
    if c.callback_url and (callback.scheme not in ("http", "https") or not callback.hostname):
        yield Error(
            f'ANYBRIDGE["CALLBACK_URL"] is no http URL: {c.callback_url}', id="anybridge.E010"
        )
        return
    if callback.scheme == "http" and not settings.DEBUG and not _is_loopback(callback.hostname):
        yield Warning(
            'ANYBRIDGE["CALLBACK_URL"] is plain http: anybody on the way can read callbacks',
            hint="Use https, or silence this in a network that you trust.",
            id="anybridge.W001",
        )
    allowed = list(settings.ALLOWED_HOSTS)
    if settings.DEBUG and not allowed:
        allowed = [".localhost", "127.0.0.1", "[::1]"]  # as Django does
    if callback.hostname and not validate_host(_host(callback.hostname), allowed):
        yield Warning(
            f"ALLOWED_HOSTS does not have {callback.hostname}, "
            'the host of ANYBRIDGE["CALLBACK_URL"]',
            hint="Django answers callbacks with 400. If a proxy changes the host, silence this.",
            id="anybridge.W004",
        )


@register(deploy=True)
def check_cache(**_: Any) -> list[CheckMessage]:
    """The processes of a server know of each other which events were handled."""
    try:
        cache = conf().cache
    except ImproperlyConfigured:
        return []
    backend = str(settings.CACHES.get(cache, {}).get("BACKEND", ""))
    if not registry.subscriptions or not backend.endswith((".LocMemCache", ".DummyCache")):
        return []
    return [
        Warning(
            f"The cache {cache!r} is not shared: an event that is sent twice can be handled twice",
            hint='ANYBRIDGE["CACHE"] names one that all processes share.',
            id="anybridge.W003",
        )
    ]


@register()
def check_handlers(**_: Any) -> list[CheckMessage]:
    """No two functions claim one procedure."""
    return [
        Error(f"Two handlers of one name: {clash}", id="anybridge.E003")
        for clash in [*registry.duplicates(), *results.duplicates()]
    ]


@register(Tags.urls)
def check_dispatcher(**_: Any) -> list[CheckMessage]:
    """Callbacks arrive at the dispatcher, if there are handlers for any."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    resolver = get_resolver()
    patterns = list(resolver.url_patterns)  # views may declare handlers, too
    if not has_handlers():
        return []
    if not _routed(patterns):
        return [
            Error(
                "There are handlers, but the dispatcher is in no URLconf",
                hint='path("wamp/", include("anybridge_django.urls"))',
                id="anybridge.E004",
            )
        ]
    try:
        callback_url = conf().callback_url
    except ImproperlyConfigured:
        return []  # check_settings tells
    if not callback_url:
        return [
            Error(
                'There are handlers, but ANYBRIDGE["CALLBACK_URL"] is not set',
                hint="It is the dispatcher's address as the bridge reaches it.",
                id="anybridge.E006",
            )
        ]
    path = urlsplit(callback_url).path or "/"
    try:
        arrives = resolve(path).func is dispatcher
    except Resolver404:
        arrives = False
    if arrives:
        return []
    return [
        Warning(
            f'ANYBRIDGE["CALLBACK_URL"] has the path {path}, which does not lead to the dispatcher',
            hint="Mind the trailing slash. If a proxy changes the path, silence this.",
            id="anybridge.W002",
        )
    ]


def has_handlers() -> bool:
    """Whether anything was declared so far."""
    return bool(registry.procedures or registry.subscriptions or results.rows())


def load_urlconf() -> None:
    """Import the URLconf, for handlers that views declare."""
    if name := getattr(settings, "ROOT_URLCONF", None):
        if isinstance(name, str):
            import_module(name)
        list(get_resolver().url_patterns)


def _routed(patterns: Iterable[Any]) -> bool:
    return any(
        _routed(p.url_patterns) if isinstance(p, URLResolver) else p.callback is dispatcher
        for p in patterns
    )


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _is_loopback(host: str | None) -> bool:
    return host is not None and (
        host in ("localhost", "::1") or host.startswith("127.") or host.endswith(".localhost")
    )
