"""The decorators rpc and sub, and the registry that they fill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from anybridge import Registry
from anybridge.patterns import Match

F = TypeVar("F", bound=Callable[..., Any])

registry = Registry()
"""What bridge.py modules (and views) have declared; filled while they are imported."""


@overload
def rpc(uri: F, /) -> F: ...
@overload
def rpc(
    uri: str | None = None,
    /,
    *,
    match: Match | None = None,
    invoke: str | None = None,
    timeout: float | str | None = None,
) -> Callable[[F], F]: ...
def rpc(uri: Any = None, /, **options: Any) -> Any:
    """Make a function, sync or async, a remote procedure; the function itself stays as it is.

    ``@rpc`` and ``@rpc()`` give it the function's name, ``@rpc("com.shop.add2")`` another one.
    ``match``, ``invoke`` and ``timeout`` are those of the endpoint. A parameter named ``ctx``
    is given the call's Context.
    """
    if callable(uri):
        return registry.rpc(uri)
    return registry.rpc(uri, **options)


@overload
def sub(topic: F, /) -> F: ...
@overload
def sub(
    topic: str | None = None,
    /,
    *,
    match: Match | None = None,
    ordered: bool | None = None,
    concurrency: int | None = None,
    rate: float | None = None,
    timeout: float | str | None = None,
    retry: Sequence[float | str] | None = None,
    exclude_me: bool | None = None,
) -> Callable[[F], F]: ...
def sub(topic: Any = None, /, **options: Any) -> Any:
    """Have a function, sync or async, called with the events of a topic.

    ``@sub`` and ``@sub()`` mean the topic with the function's name. The options are those of
    the endpoint. A parameter named ``ctx`` is given the event's Context. An event can come
    again: after a failure, or when its answer was lost.
    """
    if callable(topic):
        return registry.sub(topic.__name__)(topic)

    def decorate(function: F) -> F:
        return registry.sub(function.__name__ if topic is None else topic, **options)(function)

    return decorate
