"""Signatures, against the official library."""

from __future__ import annotations

import base64
import time
from datetime import datetime, timezone

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from anybridge.signing import SignatureError, derive_key, sign, verify

# The example of the specification's libraries.
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
STAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {"webhook-id": ID, "webhook-timestamp": str(STAMP), "webhook-signature": SIGNATURE}

OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()


def test_vector() -> None:
    assert sign([KEY], ID, STAMP, BODY) == SIGNATURE
    assert verify(HEADERS, BODY, [KEY], now=STAMP) == ID


def test_derived_key() -> None:
    assert derive_key("the-token") == "whsec_gM1rP2gUuvp5Pjcn95U0IfmYPHmxy+6NIHC+PK7KS20="


def test_the_official_library_verifies_what_is_signed() -> None:
    stamp, body = int(time.time()), '{"a":"é\u2028"}'
    signature = sign([derive_key("t")], "evt_1", stamp, body.encode())
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(stamp),
        "webhook-signature": signature,
    }
    assert Webhook(derive_key("t")).verify(body, headers) == {"a": "é\u2028"}
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(body, headers)


def test_what_the_official_library_signs_verifies() -> None:
    now = datetime.now(timezone.utc)
    signature = Webhook(OTHER).sign("evt_2", now, '{"a":1}')
    headers = {
        "Webhook-Id": "evt_2",
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": signature,
    }
    assert verify(headers, b'{"a":1}', [OTHER]) == "evt_2"


def test_rotation() -> None:
    both = {**HEADERS, "webhook-signature": sign([OTHER, KEY], ID, STAMP, BODY)}
    for keys in ([KEY], [OTHER], [OTHER, KEY], [derive_key("unknown"), KEY]):
        assert verify(both, BODY, keys, now=STAMP) == ID
    assert verify(HEADERS, BODY, [OTHER, KEY], now=STAMP) == ID
    with pytest.raises(SignatureError, match="none of the keys"):
        verify(both, BODY, [derive_key("unknown")], now=STAMP)
    with pytest.raises(SignatureError):
        verify(both, BODY, [], now=STAMP)


@pytest.mark.parametrize(
    ("changed", "body", "now", "reason"),
    [
        ({}, BODY + b" ", STAMP, "none of the keys"),
        ({"webhook-id": "msg_other"}, BODY, STAMP, "none of the keys"),
        ({"webhook-timestamp": str(STAMP + 1)}, BODY, STAMP, "none of the keys"),
        ({"webhook-signature": SIGNATURE.replace("v1,", "v2,")}, BODY, STAMP, "none of the keys"),
        ({"webhook-signature": "v1,é"}, BODY, STAMP, "none of the keys"),
        ({}, BODY, STAMP + 301, "too far away"),
        ({}, BODY, STAMP - 301, "too far away"),
        ({"webhook-timestamp": "soon"}, BODY, STAMP, "not a number"),
        ({"webhook-timestamp": "²"}, BODY, STAMP, "not a number"),
        ({"webhook-signature": ""}, BODY, STAMP, "missing"),
        ({"webhook-id": ""}, BODY, STAMP, "missing"),
    ],
)
def test_stale_and_tampered_are_refused(
    changed: dict[str, str], body: bytes, now: float, reason: str
) -> None:
    with pytest.raises(SignatureError, match=reason) as caught:
        verify({**HEADERS, **changed}, body, [KEY], now=now)
    assert reason in caught.value.reason


@pytest.mark.parametrize("key", ["", "whsec_", "whsec_not base64!"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        sign([key], ID, STAMP, BODY)
