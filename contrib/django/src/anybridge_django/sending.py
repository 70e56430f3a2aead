"""publish and call, with their async forms."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from .backends import get_client
from .conf import conf
from .plain import plain
from .signals import published

log = logging.getLogger("anybridge_django")


def publish(
    topic: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
    on_commit: bool | None = None,
    using: str | None = None,
    **options: Any,
) -> str:
    """Publish an event and return its id, which is the idempotency key it is sent with.

    Inside a transaction of the database ``using`` the event leaves after the commit, with the
    values that args and kwargs have now; a rollback publishes nothing. The transaction is done
    by then, so a bridge that cannot be reached is logged (logger ``anybridge_django``) and not
    raised. Outside a transaction, or with ``on_commit=False``, the event leaves at once, and
    the call raises what ``anybridge.Client.publish`` raises. The default of ``on_commit`` is
    ``ANYBRIDGE["PUBLISH_ON_COMMIT"]``, which is True.

    ``options`` are those of ``anybridge.Client.publish``, such as ``exclude_me``.
    """
    sent_args, sent_kwargs = plain(list(args)), plain(dict(kwargs or {}))
    id = key or str(uuid.uuid4())
    client = get_client()

    def send() -> None:
        client.publish(topic, sent_args, sent_kwargs, key=id, **options)
        published.send_robust(sender=None, topic=topic, args=sent_args, kwargs=sent_kwargs, id=id)

    def send_after_commit() -> None:
        try:
            send()
        except Exception:
            log.exception("publish after commit failed: topic=%s id=%s", topic, id)

    if on_commit is None:
        on_commit = conf().publish_on_commit
    if on_commit and transaction.get_connection(using).in_atomic_block:
        transaction.on_commit(send_after_commit, using=using)
    else:
        send()
    return id


async def apublish(
    topic: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
    **options: Any,
) -> str:
    """Publish an event at once: Django has no transactions in async code. Returns its id."""
    sent_args, sent_kwargs = plain(list(args)), plain(dict(kwargs or {}))
    id = key or str(uuid.uuid4())
    await get_client().apublish(topic, sent_args, sent_kwargs, key=id, **options)
    await published.asend_robust(
        sender=None, topic=topic, args=sent_args, kwargs=sent_kwargs, id=id
    )
    return id


def call(
    procedure: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    timeout: float | None = None,
) -> Any:
    """Call a procedure and return its value; raises the subclasses of ``BridgeError``."""
    return get_client().call(
        procedure, plain(list(args)), plain(dict(kwargs or {})), timeout=timeout
    )


async def acall(
    procedure: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    timeout: float | None = None,
) -> Any:
    """Like call, for async views."""
    return await get_client().acall(
        procedure, plain(list(args)), plain(dict(kwargs or {})), timeout=timeout
    )
