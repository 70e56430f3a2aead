"""Telling the bridge what this project handles."""

from __future__ import annotations

from anybridge import syncing
from anybridge.syncing import Plan

from .checks import load_urlconf
from .conf import conf, required
from .handlers import registry


def plan() -> Plan:
    """Return what the handlers ask for, without asking the bridge."""
    load_urlconf()
    c = conf()
    if not (registry.procedures or registry.subscriptions):
        return Plan(c.callback_url, {}, {})
    return syncing.plan(registry, required("CALLBACK_URL", c.callback_url), c.secrets)
