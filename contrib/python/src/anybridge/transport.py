"""HTTP for threads, by urllib3."""

from __future__ import annotations

import os
import ssl
from typing import Any, Protocol
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import (
    ClosedPoolError,
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
)

from .errors import Timeout, Unavailable
from .request import Answer, NotSentError, Request


class Transport(Protocol):
    """Sends a request once, within ``timeout`` seconds. Raises ``Unavailable`` (from a
    ``NotSentError`` if nothing was sent) and ``Timeout``."""

    def send(self, request: Request, timeout: float) -> Answer: ...

    async def asend(self, request: Request, timeout: float) -> Answer: ...

    def close(self) -> None: ...


class Pool:
    """Connections to one bridge. They are opened when they are needed, by each process for
    itself: what a fork inherits is not used."""

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._size = size
        self._path = urlsplit(url).path
        self._held: tuple[int, urllib3.HTTPConnectionPool] | None = None

    def send(self, request: Request, timeout: float) -> Answer:
        try:
            response = self._pool().urlopen(
                request.method,
                self._path + request.path,
                body=request.body,
                headers=dict(request.headers),
                timeout=urllib3.Timeout(total=timeout),
                retries=False,
                redirect=False,
            )
        # A pool that another thread closes meanwhile has sent nothing either.
        except (NewConnectionError, ConnectTimeoutError, ClosedPoolError) as error:
            raise unreachable(self._url) from NotSentError(str(error))
        except ReadTimeoutError as error:
            raise Timeout(f"no answer from {self._url} in time") from error
        except HTTPError as error:
            raise Unavailable(f"the connection to {self._url} broke: {error}") from error
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, response.data)

    def close(self) -> None:
        """Closes what this process has opened. The next request opens it anew."""
        held, self._held = self._held, None
        if held is not None and held[0] == os.getpid():
            held[1].close()

    def _pool(self) -> urllib3.HTTPConnectionPool:
        # No lock, which a fork could inherit while it is held. Two threads that are first
        # at the same time make two pools, of which one is dropped after its request.
        held = self._held
        if held is None or held[0] != os.getpid():
            options: dict[str, Any] = {"maxsize": self._size}
            if self._url.startswith("https:"):
                options["ssl_context"] = ssl.create_default_context()
            pool = urllib3.connection_from_url(self._url, **options)
            held = self._held = (os.getpid(), pool)
        return held[1]


def unreachable(url: str) -> Unavailable:
    """What is raised when there is no connection."""
    return Unavailable(f"the bridge at {url} cannot be reached")
