"""A backend for tests: nothing leaves the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from anybridge.testing import LocalBridge


class LocalBackend(LocalBridge):
    """ANYBRIDGE["BACKEND"] = "anybridge_django.local.LocalBackend".

    ``outbox`` has what was published, each with the id that ``publish`` returned; ``respond``
    says what calls are answered.
    """

    def __init__(self, url: str = "", token: str = "", **_: Any) -> None:
        super().__init__()

    def publish(
        self,
        topic: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        exclude_me: bool = False,
        **options: Any,
    ) -> str:
        before = len(self.outbox)
        id = super().publish(topic, args, kwargs, key=key, exclude_me=exclude_me, **options)
        if key is None:
            return id
        if len(self.outbox) > before:
            self.outbox[-1] = replace(self.outbox[-1], id=key)
        return key

    async def apublish(
        self,
        topic: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        exclude_me: bool = False,
        **options: Any,
    ) -> str:
        return self.publish(topic, args, kwargs, key=key, exclude_me=exclude_me, **options)
