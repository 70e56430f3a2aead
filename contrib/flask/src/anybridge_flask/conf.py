"""The configuration: a dict in ``app.config``, read when something needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from anybridge.signing import derive_key, sign

KEYS = (
    "URL",
    "TOKEN",
    "CALLBACK_URL",
    "TIMEOUT",
    "PREVIOUS_TOKEN",
    "SECRETS",
    "TOLERANCE",
    "PATH",
)


class ConfigError(RuntimeError):
    """The configuration is wrong, or lacks what is needed now. Its text says what to do."""


@dataclass(frozen=True)
class Conf:
    """What the configuration says, with the defaults filled in. Texts that are missing are
    empty."""

    key: str
    """The name of it all in ``app.config``: ``ANYBRIDGE``."""
    path: str
    """The dispatcher's path in the app."""
    url: str = ""
    token: str = ""
    callback_url: str = ""
    timeout: float = 10.0
    """Seconds a call or a publish may take."""
    previous_token: str = ""
    secrets: tuple[str, ...] = ()
    """Signing keys (``whsec_…``) of our endpoints, the newest first; empty: derived from the
    token."""
    tolerance: float = 300.0
    """Seconds a callback's timestamp may be off."""

    def keys(self) -> list[str]:
        """The keys that a callback may be signed with."""
        return [*self.secrets, *map(derive_key, filter(None, [self.token, self.previous_token]))]

    def required(self, name: str, example: str) -> str:
        """A text that is needed now. Raises ``ConfigError`` if it is not there."""
        value = str(getattr(self, name.lower()))
        if not value:
            raise ConfigError(f'{self.key}["{name}"] is not set: {example}')
        return value


def read(config: Mapping[str, Any], key: str, path: str) -> Conf:
    """The configuration under ``key``, which may be missing; ``path`` is the default one.
    Raises ``ConfigError`` for what is there and cannot be meant."""
    given = config.get(key)
    if given is None:
        return Conf(key, path)
    if not isinstance(given, Mapping):
        raise ConfigError(f'app.config["{key}"] is to be a dict, not {type(given).__name__}')
    for name in given:
        if name not in KEYS:
            close = get_close_matches(str(name).upper(), KEYS, 1)
            meant = f"did you mean {close[0]}?" if close else f"known are {', '.join(KEYS)}"
            raise ConfigError(f'app.config["{key}"] has an unknown key {name!r}: {meant}')
    reader = _Reader(key, given)
    conf = Conf(
        key,
        path=reader.text("PATH") or path,
        url=reader.text("URL"),
        token=reader.text("TOKEN"),
        callback_url=reader.text("CALLBACK_URL"),
        timeout=reader.seconds("TIMEOUT", Conf.timeout),
        previous_token=reader.text("PREVIOUS_TOKEN"),
        secrets=reader.secrets(),
        tolerance=reader.seconds("TOLERANCE", Conf.tolerance),
    )
    if not conf.path.startswith("/"):
        raise reader.wrong("PATH", "it begins with a slash, as in /wamp/")
    return conf


class _Reader:
    def __init__(self, key: str, given: Mapping[str, Any]) -> None:
        self._key = key
        self._given = given

    def text(self, name: str) -> str:
        value = self._given.get(name)
        if type(value) is int:  # what Flask makes of digits in an environment variable
            return str(value)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, f"it is a text, not {type(value).__name__}")
        return value or ""

    def seconds(self, name: str, default: float) -> float:
        value = self._given.get(name)
        if value is None:
            return default
        try:
            found = float(value)
        except (TypeError, ValueError):
            found = 0.0
        if not 0 < found < float("inf"):
            raise self.wrong(name, f"it is a number of seconds, not {value!r}")
        return found

    def secrets(self) -> tuple[str, ...]:
        value = self._given.get("SECRETS") or ()
        try:
            found = (value,) if isinstance(value, str) else tuple(value)
            sign(found, "id", 0, b"")
        except (AttributeError, TypeError, ValueError):
            raise self.wrong("SECRETS", "each is whsec_ and base64") from None
        return found

    def wrong(self, name: str, why: str) -> ConfigError:
        return ConfigError(f'app.config["{self._key}"]["{name}"]: {why}')
