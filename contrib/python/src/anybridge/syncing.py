"""Telling a bridge what an app handles, and what it handles no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .client import Client
from .registry import Registry

Endpoints = dict[str, Any]


@dataclass
class Stale:
    """Names that the bridge holds for an app's callback URL, and the app does not handle."""

    procedures: list[str]
    topics: list[str]


@dataclass
class Plan:
    """What the handlers of a registry ask for: see ``plan``."""

    callback_url: str
    register: Endpoints
    subscribe: Endpoints
    _ids: set[str] | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return bool(self.register or self.subscribe)

    def apply(self, client: Client) -> None:
        """Tells the bridge. Doing it again changes nothing."""
        registered = client.register(self.register) if self.register else {}
        subscribed = client.subscribe(self.subscribe) if self.subscribe else {}
        self._ids = {row["id"] for row in [*registered.values(), *subscribed.values()]}

    def stale(self, client: Client) -> Stale:
        """Asks the bridge what it holds for the callback URL beyond the plan."""
        return Stale(
            [r["procedure"] for r in client.registrations() if self._stale(r, "procedure")],
            [r["topic"] for r in client.subscriptions() if self._stale(r, "topic")],
        )

    def prune(self, client: Client, found: Stale) -> None:
        """Gives up what is stale, with the events that are owed to it."""
        if found.procedures:
            client.unregister(found.procedures)
        if found.topics:
            client.unsubscribe(found.topics)
        if {*found.procedures, *found.topics} & {*self.register, *self.subscribe}:
            # A name lives on with another match, and was removed with the stale one.
            self.apply(client)

    def _stale(self, row: Mapping[str, Any], field: str) -> bool:
        if _bare(str(row["url"])) != _bare(self.callback_url):
            return False  # another app's, with the same token
        if self._ids is not None:
            return row["id"] not in self._ids
        endpoints = self.register if field == "procedure" else self.subscribe
        name, match = row[field], row.get("match", "exact")
        # The bridge leaves out the name of its default backend.
        return not any(
            (n == name or n.endswith(":" + name)) and endpoint.get("match", "exact") == match
            for n, endpoint in endpoints.items()
        )


def plan(registry: Registry, callback_url: str, secrets: Sequence[str] = ()) -> Plan:
    """What the handlers ask for, without asking the bridge. ``secrets`` are signing keys
    (``whsec_…``) in place of the one that the token implies."""
    to_register, to_subscribe = registry.endpoints(callback_url)
    if secrets:
        for endpoint in [*to_register.values(), *to_subscribe.values()]:
            endpoint["secret"] = list(secrets)
    return Plan(callback_url, to_register, to_subscribe)


def _bare(url: str) -> str:
    return url.partition("?")[0]
