"""What a handler can know about the callback it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Kind = Literal["event", "invocation", "result"]


@dataclass(frozen=True)
class Context:
    """Where a callback comes from. A handler with a parameter named ``ctx`` gets it."""

    id: str
    """The ``webhook-id``: the same each time that the same thing is sent."""
    kind: Kind
    name: str
    """The topic or procedure; for a result the procedure that was called."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the other side tells: ``caller``, ``publisher``, ``retained`` and so on."""
    time: datetime | None = None
    """When the event was published, in UTC; None for others."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The request's headers, their names in lower case."""
    message_id: str = ""
    """The ``id`` in the body: the event's, or the call's that ``Client.call_later``
    returned."""

    @property
    def token(self) -> str:
        """The name of the token that called or published through the bridge that sent
        this; empty if it was somebody else. The bridge itself says so."""
        return self._who("token")

    @property
    def user(self) -> str:
        """On whose behalf the app with ``token`` calls, as it said with ``user=…``; empty
        if it did not. The bridge passes it on for tokens with ``users: true`` alone."""
        return self._who("user")

    @property
    def authid(self) -> str:
        """How the caller or publisher is authenticated on the backend, if the router
        tells; for those with a ``token`` its name."""
        return self._who("authid")

    @property
    def authrole(self) -> str:
        """The role of the caller or publisher on the backend, if the router tells."""
        return self._who("authrole")

    @property
    def caller(self) -> Any:
        """Who calls, or published: the session's id on the backend, if it is disclosed."""
        return self.details.get("caller", self.details.get("publisher"))

    def _who(self, what: str) -> str:
        side = "publisher" if self.kind == "event" else "caller"
        value = self.details.get(f"{side}_{what}", "")
        return value if isinstance(value, str) else ""
