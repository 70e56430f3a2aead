"""The registry and name patterns."""

from __future__ import annotations

from typing import Any

import pytest

from anybridge import Registry
from anybridge.patterns import Match, matches


def test_decorators_return_the_function() -> None:
    registry = Registry()

    @registry.rpc
    def one() -> int:
        return 1

    @registry.rpc()
    def two() -> int:
        return 2

    @registry.rpc("com.example.three", match="prefix", invoke="roundrobin", timeout="5s")
    def three() -> int:
        return 3

    @registry.sub("com.example.t", retry=(1, "2s"), ordered=True, exclude_me=False)
    def on_t() -> None: ...

    assert (one(), two(), three()) == (1, 2, 3)
    assert list(registry.procedures) == ["one", "two", "com.example.three"]
    procedures, topics = registry.endpoints("http://127.0.0.1/bridge/?k=1")
    handler = registry.procedures["com.example.three"]
    assert procedures["com.example.three"] == {
        "url": f"http://127.0.0.1/bridge/?k=1&h={handler.id}",
        "match": "prefix",
        "invoke": "roundrobin",
        "timeout": "5s",
    }
    assert topics["com.example.t"] == {
        "url": f"http://127.0.0.1/bridge/?k=1&h={registry.subscriptions[0].id}",
        "ordered": True,
        "retry": [1, "2s"],
        "exclude_me": False,
    }


def test_ids_depend_on_the_pattern_alone() -> None:
    ids = set()
    for _ in range(2):
        registry = Registry()
        registry.sub("t")(lambda: None)
        ids.add(registry.subscriptions[0].id)
    registry.sub("u", match="prefix")(lambda: None)
    registry.rpc("t")(lambda: None)
    ids |= {registry.subscriptions[1].id, registry.procedures["t"].id}
    assert len(ids) == 3


def test_duplicates() -> None:
    registry = Registry()

    def one() -> None: ...
    def other() -> None: ...

    for function in (one, one, other):
        registry.rpc("p")(function)
        registry.sub("t")(function)
    assert [str(clash).split(":")[0] for clash in registry.duplicates()] == [
        "procedure p",
        "topic t",
    ]
    assert registry.procedures["p"].function is one
    assert [s.function for s in registry.subscriptions] == [one]


def test_mistakes() -> None:
    registry = Registry()
    wrong: Any = "regex"
    with pytest.raises(ValueError, match="exact, prefix or wildcard"):
        registry.rpc("p", match=wrong)
    bare: Any = lambda: None  # noqa: E731
    with pytest.raises(TypeError, match="topic"):
        registry.sub(bare)


@pytest.mark.parametrize(
    ("pattern", "match", "name", "want"),
    [
        ("com.a", "exact", "com.a", True),
        ("com.a", "exact", "com.a.b", False),
        ("com.a", "prefix", "com.a.b", True),
        ("com.a", "prefix", "com.ab", True),
        ("com.a", "prefix", "com", False),
        ("com..c", "wildcard", "com.b.c", True),
        ("com..c", "wildcard", "com.b.d", False),
        ("com..c", "wildcard", "com..c", False),
        ("com..c", "wildcard", "com.b.b.c", False),
        ("wamp:com.a", "exact", "com.a", True),
        ("com.a", "exact", "redis:com.a", True),
        ("wamp:com.a", "exact", "redis:com.a", False),
        ("irc:#Ops", "exact", "irc:#ops", True),
    ],
)
def test_matches(pattern: str, match: Match, name: str, want: bool) -> None:
    assert matches(pattern, match, name) == want


def test_find_prefers_what_fits_best() -> None:
    registry = Registry()
    patterns: list[tuple[str, Match]] = [
        ("com..c", "wildcard"),
        ("com", "prefix"),
        ("com.b", "prefix"),
        ("com.b.c", "exact"),
    ]
    for pattern, match in patterns:
        registry.sub(pattern, match=match)(lambda: None)
    for name, want in (("com.b.c", "com.b.c"), ("com.b.d", "com.b"), ("com.x.c", "com")):
        handler = registry.find("sub", name)
        assert handler is not None
        assert handler.name == want
    assert registry.find("rpc", "com.b.c") is None
