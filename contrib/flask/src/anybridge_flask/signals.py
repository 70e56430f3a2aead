"""Signals, of blinker as Flask's own.

Their sender is the app, and each has ``bridge``, the ``AnyBridge``. Receivers are plain
functions; an exception of one is logged (``anybridge_flask``) and not raised, so that it
neither fails a handler nor hides that an event was published.
"""

from __future__ import annotations

import logging
from typing import Any

from blinker import NamedSignal, Namespace
from flask import Flask

log = logging.getLogger("anybridge_flask")

_signals = Namespace()

event_received = _signals.signal("anybridge-event-received")
"""An event is about to be handed to its handler. ``context``: its ``anybridge.Context``."""

invocation_received = _signals.signal("anybridge-invocation-received")
"""A procedure is about to be called. ``context``."""

handler_failed = _signals.signal("anybridge-handler-failed")
"""A handler has raised. ``context``, ``exception``; Gone, Later and ApplicationError count."""

published = _signals.signal("anybridge-published")
"""The bridge has accepted an event. ``topic``, ``args``, ``kwargs``, ``id``."""


def send(signal: NamedSignal, app: Flask, **values: Any) -> None:
    """Sends to each receiver, whatever the others do."""
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, **values)
        except Exception:
            log.exception("a receiver of %s failed", signal.name)
