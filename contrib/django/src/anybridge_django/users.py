"""On whose behalf a call is made: Django users on the way out and on the way in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from anybridge import Context
from asgiref.sync import sync_to_async


def name_of(user: Any) -> str | None:
    """Return what the bridge is told: the user's name, and None for nobody.

    ``user`` is a name, a user of any model, None or an AnonymousUser. Raises ValueError for
    an empty name: a name that is missing by mistake must not pass as nobody.
    """
    if user is None or getattr(user, "is_anonymous", False):
        return None
    name = user if isinstance(user, str) else _username(user)
    if not name:
        raise ValueError("user: the name is empty")
    return name


def _username(user: Any) -> str:
    get_username = getattr(user, "get_username", None)
    if get_username is None:
        raise TypeError(f"user is a name or a user, not {type(user).__name__}")
    return str(get_username())


def user_of(ctx: Context, *, tokens: Collection[str] | None = None) -> Any:
    """Return the user for whom a call was made: the active one of that name, else an
    AnonymousUser. One query, if the caller named somebody.

    Whom to believe is the bridge's configuration: the tokens with ``users: true``. Where
    these are several apps with users of their own, ``tokens`` has the names of those whose
    user names mean the same as ours.
    """
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import AnonymousUser

    if isinstance(tokens, str):
        raise TypeError('tokens is a list: tokens=["shop"]')
    if not ctx.user or (tokens is not None and ctx.token not in tokens):
        return AnonymousUser()
    model = get_user_model()
    try:
        user = model._default_manager.get_by_natural_key(ctx.user)
    except model.DoesNotExist:
        return AnonymousUser()
    return user if user.is_active else AnonymousUser()


async def auser_of(ctx: Context, *, tokens: Collection[str] | None = None) -> Any:
    """``user_of`` for async handlers."""
    return await sync_to_async(user_of)(ctx, tokens=tokens)
