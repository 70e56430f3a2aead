"""Names and match policies, as the bridge has them."""

from __future__ import annotations

import re
from typing import Literal, get_args

Match = Literal["exact", "prefix", "wildcard"]
MATCHES: tuple[str, ...] = get_args(Match)

_BACKEND = re.compile(r"[a-z][a-z0-9_-]{0,63}:")


def matches(pattern: str, match: Match, name: str) -> bool:
    """Whether the pattern covers the name.

    A backend in front of only one of them does not count: the bridge leaves the default
    one out. Neither does case, in which some backends change names.
    """
    backend, pattern = _split(pattern)
    other, name = _split(name)
    if backend and other and backend != other:
        return False
    pattern, name = pattern.casefold(), name.casefold()
    if match == "prefix":
        return name.startswith(pattern)
    if match == "wildcard":
        parts, found = pattern.split("."), name.split(".")
        return len(parts) == len(found) and all(
            has == want if want else bool(has) for want, has in zip(parts, found, strict=True)
        )
    return name == pattern


def rank(pattern: str, match: Match) -> tuple[int, int]:
    """Sorts patterns by how well they fit what they match: exact ones first, then the
    longest prefix, then wildcards with the most components of their own."""
    _, name = _split(pattern)
    if match == "wildcard":
        return (2, -sum(1 for part in name.split(".") if part))
    return (1, -len(name)) if match == "prefix" else (0, 0)


def _split(address: str) -> tuple[str, str]:
    found = _BACKEND.match(address)
    return (found[0], address[found.end() :]) if found else ("", address)
