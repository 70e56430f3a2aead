"""The settings: the dict ANYBRIDGE, read when something needs it and not before."""

from __future__ import annotations

from collections.abc import Mapping
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
    backend: str = "anybridge.Client"

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
    """Return the settings of this moment, so that override_settings works."""
    given = raw()
    secrets = given.get("SECRETS") or ()
    callback_url = str(given.get("CALLBACK_URL") or "")
    return Conf(
        url=str(given.get("URL") or ""),
        token=str(given.get("TOKEN") or ""),
        callback_url=callback_url,
        timeout=float(given.get("TIMEOUT", Conf.timeout)),
        previous_token=str(given.get("PREVIOUS_TOKEN") or ""),
        secrets=(secrets,) if isinstance(secrets, str) else tuple(secrets),
        publish_on_commit=bool(given.get("PUBLISH_ON_COMMIT", True)),
        tolerance=float(given.get("TOLERANCE", Conf.tolerance)),
        backend=str(given.get("BACKEND") or Conf.backend),
    )


def required(name: str, value: str) -> str:
    """Return value; raises ImproperlyConfigured if the setting is empty."""
    if not value:
        raise ImproperlyConfigured(f'ANYBRIDGE["{name}"] is not set')
    return value
