"""What can go wrong: ``BridgeError`` and its kinds when asking the bridge, and what a
handler raises to tell the bridge something.

Every ``BridgeError`` can be pickled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class BridgeError(Exception):
    """The bridge did not do what it was asked.

    ``status`` is the HTTP status, or None if there was no answer. ``code`` is the end of
    the problem's type (``urn:anybridge:error:CODE``), or None. ``detail`` says what
    happened, for people. ``retry_after`` is how many seconds to wait before trying again,
    if the bridge told.
    """

    def __init__(
        self,
        detail: str = "",
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.detail or self.code or f"status {self.status}"


class Unavailable(BridgeError):
    """The bridge cannot be reached, or something behind it is away or overloaded
    (429, 502, 503). Trying again later may help."""


class Timeout(BridgeError):
    """The deadline passed: the client's own, or the bridge's (504). It is unknown what
    was done."""


class AuthError(BridgeError):
    """The token is unknown (401), or may not do this (403)."""


class NoSuchProcedure(BridgeError):
    """Nobody has registered the procedure (404)."""


class InvalidRequest(BridgeError):
    """The request has to be mended: any other 4xx, and 501 for what the backend cannot
    do."""


class RemoteError(BridgeError):
    """The procedure itself raised an error (500).

    ``uri`` names it, ``args`` (a list) and ``kwargs`` are what it was raised with.
    """

    def __init__(
        self,
        uri: str = "",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        detail: str = "",
        status: int | None = 500,
        code: str | None = "application_error",
    ) -> None:
        super().__init__(detail, status=status, code=code)
        self.uri = uri
        self.kwargs: dict[str, Any] = dict(kwargs or {})
        self._remote_args = list(args)

    @property
    def args(self) -> list[Any]:  # type: ignore[override]
        """The positional arguments that the procedure raised its error with."""
        return self._remote_args

    def __str__(self) -> str:
        told = self.detail or ", ".join(str(arg) for arg in self._remote_args)
        return f"{self.uri}: {told}" if told else self.uri

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.uri, self._remote_args, self.kwargs), self.__dict__)


class ApplicationError(Exception):
    """Raise it in a procedure to have its caller get this error.

    ``uri`` names it, for example ``com.shop.sold_out``; ``args`` and ``kwargs`` must be
    JSON. Who calls through a ``Client`` gets a ``RemoteError`` with the same three.
    """

    def __init__(
        self, uri: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(uri)
        self.uri = uri
        self.kwargs: dict[str, Any] = dict(kwargs or {})
        self._application_args = list(args)

    @property
    def args(self) -> list[Any]:  # type: ignore[override]
        """The positional arguments of the error."""
        return self._application_args

    def __str__(self) -> str:
        told = ", ".join(str(arg) for arg in self._application_args)
        return f"{self.uri}: {told}" if told else self.uri

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.uri, self._application_args, self.kwargs))


class Gone(Exception):
    """Raise it in the handler of a topic to have the bridge unsubscribe it (410). What
    else the subscription is owed is dropped."""


class Later(Exception):
    """Raise it in a handler to be sent this again in ``seconds``, or later (503 with
    ``Retry-After``). The caller of a procedure gets ``Unavailable``: calls are not
    repeated."""

    def __init__(self, seconds: float = 60) -> None:
        super().__init__(seconds)
        self.seconds = seconds
