"""The settings: the dict ANYBRIDGE, read when something needs it and not before.

URL, TOKEN and CALLBACK_URL have two places more, which count if the dict does not have them:
settings of their own, WAMP_BRIDGE_URL and so on, and the environment, ANYBRIDGE_URL and so
on, where the bridge and its command line have theirs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

KEYS = frozenset(
    {
        "URL",
        "TOKEN",
        "CALLBACK_URL",
        "TIMEOUT",
        "PREVIOUS_TOKEN",
        "SECRETS",
        "PUBLISH_ON_COMMIT",
        "TOLERANCE",
        "CACHE",
        "BACKEND",
    }
)


@dataclass(frozen=True)
class Conf:
    """What ANYBRIDGE says, with the defaults filled in. Texts that are missing are empty."""

    url: str = ""
    token: str = ""
    callback_url: str = ""
    timeout: float = 10.0
    """Seconds a call or a publish may take."""
    previous_token: str = ""
    secrets: tuple[str, ...] = ()
    """Signing keys (whsec_…) of our endpoints, the newest first; empty: derived from the token."""
    publish_on_commit: bool = True
    tolerance: float = 300.0
    """Seconds a callback's timestamp may be off."""
    cache: str = "default"
    """The cache that knows which events were handled, by its name in CACHES."""
    backend: str | Callable[..., Any] = "anybridge.Client"

    def keys(self) -> list[str]:
        """Return the keys that a callback may be signed with."""
        from anybridge.signing import derive_key

        tokens = [t for t in (self.token, self.previous_token) if t]
        return [*self.secrets, *(derive_key(t) for t in tokens)]


def raw() -> Mapping[str, Any]:
    """Return ANYBRIDGE as it stands; empty if it is missing or no mapping."""
    value = getattr(settings, "ANYBRIDGE", None)
    return value if isinstance(value, Mapping) else {}


def conf() -> Conf:
    """Return the settings of this moment, so that override_settings works.

    Raises ImproperlyConfigured for numbers that are none.
    """
    given = raw()
    secrets = given.get("SECRETS") or ()
    return Conf(
        url=_found(given, "URL"),
        token=_found(given, "TOKEN"),
        callback_url=_found(given, "CALLBACK_URL"),
        timeout=_seconds(given, "TIMEOUT", Conf.timeout),
        previous_token=str(given.get("PREVIOUS_TOKEN") or ""),
        secrets=(secrets,) if isinstance(secrets, str) else tuple(secrets),
        publish_on_commit=bool(given.get("PUBLISH_ON_COMMIT", True)),
        tolerance=_seconds(given, "TOLERANCE", Conf.tolerance),
        cache=str(given.get("CACHE") or Conf.cache),
        backend=given.get("BACKEND") or Conf.backend,
    )


def required(name: str, value: str) -> str:
    """Return value; raises ImproperlyConfigured if the setting is empty."""
    if not value:
        raise ImproperlyConfigured(f'ANYBRIDGE["{name}"] is not set')
    return value


def _found(given: Mapping[str, Any], name: str) -> str:
    own = given.get(name) or getattr(settings, f"WAMP_BRIDGE_{name}", None)
    return str(own or os.environ.get(f"ANYBRIDGE_{name}", ""))


def _seconds(given: Mapping[str, Any], name: str, default: float) -> float:
    value = given.get(name)
    try:
        seconds = default if value is None else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ImproperlyConfigured(f'ANYBRIDGE["{name}"] is a number of seconds, not {value!r}')
    return seconds
