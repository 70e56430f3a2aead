"""What came of calls made with call_later: the decorator on_result, and finding its function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])

ANY = ""
"""The name of the function for procedures that have none of their own."""


class Results:
    """The functions under on_result, by the name of the procedure that was called."""

    def __init__(self) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}
        self._clashes: list[str] = []

    def add(self, procedure: str, function: Callable[..., Any]) -> None:
        """Keep a function. A second one for a procedure is left out and told as a clash; the
        same one again (its module was loaded again) replaces the former."""
        kept = self._functions.get(procedure, function)
        if _place(kept) == _place(function):
            self._functions[procedure] = function
        else:
            what = procedure or "all others"
            self._clashes.append(f"results of {what}: both {_place(kept)} and {_place(function)}")

    def find(self, procedure: str) -> Callable[..., Any] | None:
        """Return the function for a procedure, its own or the one for all others."""
        for name, function in self._functions.items():
            # In outcomes the bridge leaves out the name of its default backend.
            if name and (name == procedure or name.endswith(":" + procedure)):
                return function
        return self._functions.get(ANY)

    def rows(self) -> list[tuple[str, str]]:
        """Return the procedures, with where their functions are."""
        return [(name or "*", _place(function)) for name, function in self._functions.items()]

    def duplicates(self) -> list[str]:
        return list(self._clashes)


results = Results()


@overload
def on_result(procedure: F, /) -> F: ...
@overload
def on_result(procedure: str, /) -> Callable[[F], F]: ...
def on_result(procedure: Any, /) -> Any:
    """Have a function, sync or async, called as ``function(ctx, outcome)`` with what came of
    ``call_later``: a ``Result``, or the ``BridgeError`` that ``call`` would have raised.

    ``@on_result("com.shop.render")`` takes those of one procedure, ``@on_result`` those that
    have no other function. ``ctx.message_id`` is the id that ``call_later`` returned. Like an
    event an outcome comes again if the function fails, and is handled once if it does not.
    """
    if callable(procedure):
        results.add(ANY, procedure)
        return procedure

    def decorate(function: F) -> F:
        results.add(procedure, function)
        return function

    return decorate


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', repr(function))}"
