"""The handlers of an app, and what the bridge has to be told of them."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar, overload
from urllib.parse import urlencode

from .patterns import MATCHES, Match, matches, rank

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)

HANDLER_PARAMETER = "h"
"""The query parameter of a callback URL that tells whose delivery this is."""


@dataclass(frozen=True)
class Handler:
    """A function with the name that it answers to."""

    kind: Literal["rpc", "sub"]
    name: str
    match: Match
    function: Function
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """Tells this handler from others in the URL of its callbacks. It depends on the
        name and the match policy alone: processes, releases and restarts agree on it."""
        pattern = f"{self.kind}\0{self.match}\0{self.name}"
        return hashlib.sha256(pattern.encode()).hexdigest()[:16]

    @property
    def place(self) -> str:
        """Where the function is defined, as ``module.function``."""
        module = getattr(self.function, "__module__", None) or "?"
        return f"{module}.{getattr(self.function, '__qualname__', repr(self.function))}"

    @cached_property
    def wants_context(self) -> bool:
        """Whether the function has a parameter named ``ctx``."""
        signature = self.signature
        parameter = signature.parameters.get("ctx") if signature else None
        return parameter is not None and parameter.kind in (
            parameter.POSITIONAL_OR_KEYWORD,
            parameter.KEYWORD_ONLY,
        )

    @cached_property
    def signature(self) -> inspect.Signature | None:
        """The function's parameters, or None if they cannot be known."""
        try:
            return inspect.signature(self.function)
        except (TypeError, ValueError):
            return None

    def endpoint(self, callback_url: str) -> dict[str, Any]:
        """The endpoint as ``Client.register`` and ``Client.subscribe`` take it."""
        joint = "&" if "?" in callback_url else "?"
        url = callback_url + joint + urlencode({HANDLER_PARAMETER: self.id})
        match = {} if self.match == "exact" else {"match": self.match}
        return {"url": url, **match, **self.options}


class Procedure(Handler):
    """The handler of a procedure."""


class Subscription(Handler):
    """The handler of a topic."""


@dataclass(frozen=True)
class Clash:
    """Two functions that want the same name, of which the bridge knows only one."""

    kept: Handler
    refused: Handler

    def __str__(self) -> str:
        what = "procedure" if self.kept.kind == "rpc" else "topic"
        return f"{what} {self.kept.name}: both {self.kept.place} and {self.refused.place}"


class Registry:
    """Collects the handlers of an app. Its decorators return the function unchanged.

    A name is held once: the bridge has one endpoint for each name of a token. Of two
    functions with the same name the first is kept, and ``duplicates`` tells of it; the
    same function again (its module was loaded again) replaces the former.
    """

    def __init__(self) -> None:
        self.procedures: dict[str, Procedure] = {}
        self.subscriptions: list[Subscription] = []
        self._clashes: list[Clash] = []

    @overload
    def rpc(self, uri: F) -> F: ...

    @overload
    def rpc(
        self,
        uri: str | None = None,
        *,
        match: Match | None = None,
        invoke: str | None = None,
        timeout: float | str | None = None,
    ) -> Callable[[F], F]: ...

    def rpc(
        self,
        uri: F | str | None = None,
        *,
        match: Match | None = None,
        invoke: str | None = None,
        timeout: float | str | None = None,
    ) -> F | Callable[[F], F]:
        """Makes a function a procedure, named ``uri`` or like the function.

        Works with and without parentheses. ``invoke`` is ``single``, ``first``, ``last``,
        ``roundrobin`` or ``random``; ``timeout`` is in seconds, or text such as ``"5s"``.
        Raises ``ValueError`` for an unknown ``match``.
        """
        options = _given(invoke=invoke, timeout=timeout)
        policy = _policy(match)

        def decorate(function: F, name: str | None = None) -> F:
            handler = Procedure("rpc", name or function.__name__, policy, function, options)
            kept = self.procedures.get(handler.name)
            if kept is None or kept.place == handler.place:
                self.procedures[handler.name] = handler
            else:
                self._clashes.append(Clash(kept, handler))
            return function

        if uri is None or isinstance(uri, str):
            return lambda function: decorate(function, uri)
        return decorate(uri)

    def sub(
        self,
        topic: str,
        *,
        match: Match | None = None,
        ordered: bool | None = None,
        concurrency: int | None = None,
        rate: float | None = None,
        timeout: float | str | None = None,
        retry: Sequence[float | str] | None = None,
        exclude_me: bool | None = None,
    ) -> Callable[[F], F]:
        """Makes a function the handler of a topic.

        ``timeout`` and the pauses in ``retry`` are in seconds, or text such as ``"5s"``;
        ``rate`` is in callbacks per second. Raises ``ValueError`` for an unknown ``match``,
        and ``TypeError`` without a topic.
        """
        if not isinstance(topic, str):
            raise TypeError("sub needs the topic: @sub('com.example.topic')")
        options = _given(
            ordered=ordered,
            concurrency=concurrency,
            rate=rate,
            timeout=timeout,
            retry=None if retry is None else list(retry),
            exclude_me=exclude_me,
        )
        policy = _policy(match)

        def decorate(function: F) -> F:
            handler = Subscription("sub", topic, policy, function, options)
            for i, kept in enumerate(self.subscriptions):
                if kept.name != topic:
                    continue
                if kept.place == handler.place:
                    self.subscriptions[i] = handler
                else:
                    self._clashes.append(Clash(kept, handler))
                return function
            self.subscriptions.append(handler)
            return function

        return decorate

    def duplicates(self) -> list[Clash]:
        """The functions that were left out because another has their name."""
        return list(self._clashes)

    def endpoints(self, callback_url: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """What ``Client.register`` and ``Client.subscribe`` take, if ``callback_url`` is
        where the app hands callbacks to a ``Dispatcher``: name to endpoint. Either is
        empty if there is no such handler."""
        return (
            {p.name: p.endpoint(callback_url) for p in self.procedures.values()},
            {s.name: s.endpoint(callback_url) for s in self.subscriptions},
        )

    def find(
        self, kind: Literal["rpc", "sub"], name: str, handler_id: str | None = None
    ) -> Handler | None:
        """The handler of what is named: the one with this id, or without an id the one
        that fits best (exact, then the longest prefix, then wildcards). None if there is
        none, or if the one with the id does not cover the name."""
        handlers: Sequence[Handler] = self.subscriptions
        if kind == "rpc":
            known = self.procedures.get(name)
            # Nothing fits better, so there is no need to look at all of them.
            if known and known.match == "exact" and handler_id in (None, "", known.id):
                return known
            handlers = list(self.procedures.values())
        fitting = [
            handler
            for handler in handlers
            if (not handler_id or handler.id == handler_id)
            and matches(handler.name, handler.match, name)
        ]
        return min(fitting, key=lambda h: rank(h.name, h.match), default=None)


def _policy(match: Match | None) -> Match:
    if match is not None and match not in MATCHES:
        raise ValueError(f"match {match!r}: want exact, prefix or wildcard")
    return match or "exact"


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
