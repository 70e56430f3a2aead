"""HTTP for event loops, by httpx."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

from .errors import Timeout, Unavailable
from .request import Answer, NotSentError, Request
from .transport import unreachable

if TYPE_CHECKING:
    import httpx

    _Keeper: TypeAlias = AsyncGenerator[httpx.AsyncClient, None]
    _Held: TypeAlias = dict[asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, _Keeper]]


class AsyncPool:
    """Connections to one bridge, for each running event loop its own, which are closed
    when ``asyncio.run`` ends the loop."""

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._size = size
        self._pid = os.getpid()
        self._held: _Held = {}

    async def send(self, request: Request, timeout: float) -> Answer:
        httpx = _httpx()
        client = await self._client()
        try:
            # httpx bounds each step; the deadline bounds them together.
            response = await asyncio.wait_for(
                client.request(
                    request.method,
                    self._url + request.path,
                    content=request.body,
                    headers=dict(request.headers),
                    timeout=timeout,
                ),
                timeout,
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise unreachable(self._url) from NotSentError(str(error))
        except (asyncio.TimeoutError, httpx.TimeoutException) as error:
            raise Timeout(f"no answer from {self._url} in time") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"the connection to {self._url} broke: {error}") from error
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, response.content)

    async def _client(self) -> httpx.AsyncClient:
        if self._pid != os.getpid():
            self._pid, self._held = os.getpid(), {}
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            for closed in [other for other in list(self._held) if other.is_closed()]:
                self._held.pop(closed, None)  # by somebody who did not end it well
            # An asynchronous generator that has begun is closed by its loop at the end:
            # the only hook that a loop has.
            keeper = self._keep(loop, self._held)
            held = self._held[loop] = (await anext(keeper), keeper)
        return held[0]

    async def _keep(self, loop: asyncio.AbstractEventLoop, held: _Held) -> _Keeper:
        context: ssl.SSLContext | bool = (
            ssl.create_default_context() if self._url.startswith("https:") else False
        )
        limits = _httpx().Limits(max_connections=None, max_keepalive_connections=self._size)
        client: httpx.AsyncClient = _httpx().AsyncClient(
            verify=context, limits=limits, trust_env=False
        )
        try:
            yield client
        finally:
            held.pop(loop, None)
            await client.aclose()


def _httpx() -> ModuleType:
    try:
        import httpx
    except ImportError as error:
        raise ImportError("asynchronous calls need httpx: pip install anybridge[async]") from error
    return httpx
