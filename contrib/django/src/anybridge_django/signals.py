"""Signals. Their ``sender`` is None, and an exception of a receiver is logged by Django, not
raised.

Receivers of the first three run where the handler runs: those of an async handler must not
touch the database.
"""

from django.dispatch import Signal

event_received = Signal()
"""An event is about to be handed to its handler. ``context``: its ``anybridge.Context``."""

invocation_received = Signal()
"""A procedure is about to be called. ``context``."""

handler_failed = Signal()
"""A handler has raised. ``context``, ``exception``; Gone, Later and ApplicationError count."""

published = Signal()
"""The bridge has accepted an event. ``topic``, ``args``, ``kwargs``, ``id``."""
