"""Telling the bridge what this project handles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .backends import get_client
from .checks import load_urlconf
from .conf import conf, required
from .handlers import registry

Endpoints = dict[str, Any]


@dataclass
class Plan:
    """What a sync says; ids are those the bridge answered with, None before it was asked."""

    register: Endpoints
    subscribe: Endpoints
    ids: set[str] | None = None


@dataclass
class Stale:
    """Names that the bridge holds for our CALLBACK_URL, and nothing here handles."""

    procedures: list[str]
    topics: list[str]


def plan() -> Plan:
    """Return what the handlers ask for, without asking the bridge."""
    load_urlconf()
    c = conf()
    if not (registry.procedures or registry.subscriptions):
        return Plan({}, {})
    to_register, to_subscribe = registry.endpoints(required("CALLBACK_URL", c.callback_url))
    if c.secrets:
        secret = list(c.secrets)
        for endpoint in [*to_register.values(), *to_subscribe.values()]:
            endpoint["secret"] = secret
    return Plan(to_register, to_subscribe)


def apply(p: Plan) -> None:
    """Tell the bridge. Doing it again changes nothing."""
    client = get_client()
    registered = client.register(p.register) if p.register else {}
    subscribed = client.subscribe(p.subscribe) if p.subscribe else {}
    p.ids = {row["id"] for row in [*registered.values(), *subscribed.values()]}


def stale(p: Plan) -> Stale:
    """Ask the bridge what it holds for our CALLBACK_URL beyond the plan."""
    client = get_client()
    return Stale(
        [r["procedure"] for r in client.registrations() if _is_stale(p, r, "procedure")],
        [r["topic"] for r in client.subscriptions() if _is_stale(p, r, "topic")],
    )


def _is_stale(p: Plan, row: Mapping[str, Any], field: str) -> bool:
    if str(row["url"]).partition("?")[0] != conf().callback_url.partition("?")[0]:
        return False  # another app's, with the same token
    if p.ids is not None:
        return row["id"] not in p.ids
    endpoints = p.register if field == "procedure" else p.subscribe
    name, match = row[field], row.get("match", "exact")
    # The bridge leaves out the name of its default backend.
    return not any(
        (n == name or n.endswith(":" + name)) and _match(endpoint) == match
        for n, endpoint in endpoints.items()
    )


def _match(endpoint: Mapping[str, Any]) -> str:
    return str(endpoint.get("match", "exact"))


def prune(p: Plan, found: Stale) -> None:
    """Remove what is stale."""
    client = get_client()
    if found.procedures:
        client.unregister(found.procedures)
    if found.topics:
        client.unsubscribe(found.topics)
    if {*found.procedures, *found.topics} & {*p.register, *p.subscribe}:
        apply(p)  # the name lives on with another match, and was removed with the stale one
