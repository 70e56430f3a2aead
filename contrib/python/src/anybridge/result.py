"""What a call returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Result:
    """A full result: positional and keyword values, as WAMP has them.

    A procedure returns one to return several values; ``Client.call_result`` returns one.
    """

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.args: list[Any] = list(self.args)
        self.kwargs: dict[str, Any] = dict(self.kwargs)

    @property
    def value(self) -> Any:
        """The one positional value; None if there is nothing at all; otherwise the result
        itself."""
        if not self.args and not self.kwargs:
            return None
        if len(self.args) == 1 and not self.kwargs:
            return self.args[0]
        return self
