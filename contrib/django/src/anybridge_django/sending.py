"""publish, call and call_later, with their async forms."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from anybridge import Result
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from .backends import get_client
from .conf import conf, required
from .plain import plain
from .results import results
from .signals import published
from .users import name_of

log = logging.getLogger("anybridge_django")

KEY_PARAMETER = "c"
"""The query parameter of a callback URL that tells which call_later its outcome is of."""

Args = Sequence[Any]
Kwargs = Mapping[str, Any] | None


def publish(
    topic: str,
    args: Args = (),
    kwargs: Kwargs = None,
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
    sent_args, sent_kwargs = _plain(args, kwargs)
    id = key or str(uuid.uuid4())
    client = get_client()

    def send() -> None:
        client.publish(topic, sent_args, sent_kwargs, key=id, **options)
        published.send_robust(sender=None, topic=topic, args=sent_args, kwargs=sent_kwargs, id=id)

    _when_committed(send, on_commit, using, f"publish topic={topic} id={id}")
    return id


async def apublish(
    topic: str,
    args: Args = (),
    kwargs: Kwargs = None,
    *,
    key: str | None = None,
    **options: Any,
) -> str:
    """Publish an event at once: Django has no transactions in async code. Returns its id."""
    sent_args, sent_kwargs = _plain(args, kwargs)
    id = key or str(uuid.uuid4())
    await get_client().apublish(topic, sent_args, sent_kwargs, key=id, **options)
    await published.asend_robust(
        sender=None, topic=topic, args=sent_args, kwargs=sent_kwargs, id=id
    )
    return id


def call(
    procedure: str,
    args: Args = (),
    kwargs: Kwargs = None,
    *,
    timeout: float | None = None,
    user: Any = None,
) -> Any:
    """Call a procedure and return its value; raises the subclasses of ``BridgeError``.

    It does not wait for a commit: what is called does not see what this transaction wrote.
    ``timeout`` is in seconds. ``user``, a name or a Django user, is for whom the call is made:
    see ``user_of``; None and an AnonymousUser are nobody. The bridge refuses it (AuthError)
    unless the token has ``users: true``.
    """
    return call_result(procedure, args, kwargs, timeout=timeout, user=user).value


def call_result(
    procedure: str,
    args: Args = (),
    kwargs: Kwargs = None,
    *,
    timeout: float | None = None,
    user: Any = None,
) -> Result:
    """``call``, for procedures that return several values."""
    return get_client().call_result(
        procedure, *_plain(args, kwargs), timeout=timeout, user=name_of(user)
    )


async def acall(
    procedure: str,
    args: Args = (),
    kwargs: Kwargs = None,
    *,
    timeout: float | None = None,
    user: Any = None,
) -> Any:
    """``call`` for async views. ``user`` is there ``await request.auser()``."""
    return await get_client().acall(
        procedure, *_plain(args, kwargs), timeout=timeout, user=name_of(user)
    )


def call_later(
    procedure: str,
    args: Args = (),
    kwargs: Kwargs = None,
    *,
    callback: str | None = None,
    timeout: float | None = None,
    key: str | None = None,
    user: Any = None,
    on_commit: bool | None = None,
    using: str | None = None,
) -> str:
    """Have the bridge make a call, at most once, and return the call's id, which is the
    idempotency key it is sent with.

    What comes of it goes to the function under ``on_result``, whose ``ctx.message_id`` is the
    same id; with ``callback``, to that URL, with an id of the bridge's. ``on_commit`` and
    ``using`` are those of ``publish``: inside a transaction the call is made after the commit,
    and after a rollback not at all. ``timeout``, in seconds, is for the call itself.

    Raises ImproperlyConfigured without a callback and without a function for the outcome.
    """
    sent_args, sent_kwargs = _plain(args, kwargs)
    id = key or str(uuid.uuid4())
    to = callback or _outcome_url(procedure, id)
    client, sent_user = get_client(), name_of(user)

    def send() -> None:
        client.call_later(
            procedure,
            sent_args,
            sent_kwargs,
            callback=to,
            timeout=timeout,
            key=id,
            user=sent_user,
        )

    _when_committed(send, on_commit, using, f"call_later procedure={procedure} id={id}")
    return id


def _outcome_url(procedure: str, id: str) -> str:
    if results.find(procedure) is None:
        raise ImproperlyConfigured(
            f"call_later: nobody takes what comes of {procedure}: @on_result or callback=…"
        )
    url = required("CALLBACK_URL", conf().callback_url)
    return url + ("&" if "?" in url else "?") + urlencode({KEY_PARAMETER: id})


def _when_committed(
    send: Callable[[], None], on_commit: bool | None, using: str | None, what: str
) -> None:
    def send_after_commit() -> None:
        try:
            send()
        except Exception:
            log.exception("after commit: failed to %s", what)

    if on_commit is None:
        on_commit = conf().publish_on_commit
    if on_commit and transaction.get_connection(using).in_atomic_block:
        transaction.on_commit(send_after_commit, using=using)
    else:
        send()


def _plain(args: Args, kwargs: Kwargs) -> tuple[list[Any], dict[str, Any]]:
    if isinstance(args, str | bytes | Mapping):
        raise TypeError("args is a list: publish(topic, ['one'])")
    return plain(list(args)), plain(dict(kwargs or {}))
