"""Signatures of Standard Webhooks 1.0 (https://www.standardwebhooks.com/)."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping

_PREFIX = "whsec_"
_PURPOSE = b"anybridge callback signing v1"


class SignatureError(Exception):
    """A request does not come from the bridge, or not now. ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@functools.lru_cache(maxsize=64)  # an app has a few, and asks at each callback
def derive_key(token: str) -> str:
    """The key of callbacks to what ``token`` has registered, where no ``secret`` was
    given: ``whsec_`` and base64."""
    digest = hmac.new(token.encode(), _PURPOSE, hashlib.sha256).digest()
    return _PREFIX + base64.b64encode(digest).decode()


def sign(keys: Iterable[str], id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``: one signature for each key, separated by spaces.

    ``timestamp`` is in seconds since 1970. Raises ``ValueError`` for what is no key.
    """
    signed = f"{id}.{timestamp}.".encode() + body
    return " ".join(_signature(_secret(key), signed) for key in keys)


def verify(
    headers: Mapping[str, str],
    body: bytes,
    keys: Iterable[str],
    *,
    tolerance: float = 300,
    now: float | None = None,
) -> str:
    """Checks that ``body`` is signed with one of ``keys``, and returns its ``webhook-id``.

    The names of ``headers`` may be in any case. ``body`` is what came over the wire, byte
    for byte. ``tolerance`` is how many seconds the timestamp may be away from ``now``.
    Raises ``SignatureError``, and ``ValueError`` for what is no key.
    """
    found = {name.lower(): value for name, value in headers.items()}
    id, stamp, signatures = (
        found.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
    )
    if not (id and stamp and signatures):
        raise SignatureError("a header is missing: webhook-id, -timestamp or -signature")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 15):
        raise SignatureError("webhook-timestamp is not a number of seconds")
    if abs((time.time() if now is None else now) - int(stamp)) > tolerance:
        raise SignatureError("webhook-timestamp is too far away")
    signed = f"{id}.{stamp}.".encode() + body
    given = [text.encode() for text in signatures.split()]
    accepted = False
    for key in keys:
        want = _signature(_secret(key), signed).encode()
        for signature in given:
            accepted |= hmac.compare_digest(want, signature)
    if not accepted:
        raise SignatureError("webhook-signature fits none of the keys")
    return id


def _signature(secret: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def _secret(key: str) -> bytes:
    try:
        secret = base64.b64decode(key.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not secret:
        raise ValueError("a key is whsec_ and base64")
    return secret
