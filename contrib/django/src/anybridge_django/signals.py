"""Signals. Their ``sender`` is None, and an exception of a receiver is logged by Django, not
raised.

All but ``published`` run where the handler runs: receivers are plain functions, and with an
async handler they must not touch the database.
"""

import logging
from typing import Any

from django.dispatch import Signal

log = logging.getLogger("anybridge_django")

event_received = Signal()
"""An event is about to be handed to its handler. ``context``: its ``anybridge.Context``."""

invocation_received = Signal()
"""A procedure is about to be called. ``context``."""

result_received = Signal()
"""What came of a ``call_later`` is about to be handed to its handler. ``context``,
``outcome``: a ``Result`` or a ``BridgeError``."""

handler_failed = Signal()
"""A handler has raised. ``context``, ``exception``; Gone, Later and ApplicationError count."""

published = Signal()
"""The bridge has accepted an event. ``topic``, ``args``, ``kwargs``, ``id``."""


def tell(signal: Signal, **values: Any) -> None:
    """Send a signal whatever its receivers are: an async one in an event loop is an error of
    Django's, which must not fail the handler."""
    try:
        signal.send_robust(sender=None, **values)
    except Exception:
        log.exception("receivers of a signal failed")
