"""Python values as JSON."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from typing import Any


def encode(value: Any) -> bytes:
    """``value`` as JSON in UTF-8.

    Dates, times, durations (ISO 8601), ``Decimal`` and ``UUID`` become strings, as Django's
    encoder has them; tuples and sets become lists. Raises ``TypeError`` for what has no
    JSON, ``ValueError`` for NaN, infinities, cycles and text that is not Unicode.
    """
    text = json.dumps(
        value, default=_default, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode()


def _default(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return _moment(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.time):
        if value.tzinfo is not None:
            raise ValueError("a time with a time zone has no JSON")
        return _milliseconds(value.isoformat(), 12) if value.microsecond else value.isoformat()
    if isinstance(value, datetime.timedelta):
        return _duration(value)
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, set | frozenset):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON")


def _moment(value: datetime.datetime) -> str:
    text = value.isoformat()
    if value.microsecond:
        text = _milliseconds(text, 23)
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def _milliseconds(text: str, end: int) -> str:
    """``text`` without the microseconds, which end three digits after ``end``."""
    return text[:end] + text[end + 3 :]


def _duration(value: datetime.timedelta) -> str:
    sign, value = ("-", -value) if value < datetime.timedelta() else ("", value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06d}" if value.microseconds else ""
    return f"{sign}P{value.days}DT{hours:02d}H{minutes:02d}M{seconds:02d}{fraction}S"
