"""One client for processes and event loops."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import threading
import time

import pytest
from app import App
from bridge import TOKEN, Bridge, free_port

from anybridge import Client, NoSuchProcedure, RemoteError, Timeout, Unavailable


@pytest.fixture
def adding(client: Client, app: App) -> str:
    """The name of a procedure that adds."""
    app.registry.rpc("com.example.sum")(lambda a, b: a + b)
    client.register(app.endpoints()[0])
    return "com.example.sum"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(client: Client, adding: str) -> None:
    assert client.call(adding, [1, 2]) == 3  # a connection is open now
    children = []
    for number in range(4):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                right = all(client.call(adding, [number, i]) == number + i for i in range(20))
                arun = asyncio.run(client.acall(adding, [number, 1]))
                status = 0 if right and arun == number + 1 else 2
            finally:
                os._exit(status)
        children.append(pid)
    assert all(client.call(adding, [100, i]) == 100 + i for i in range(20))
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 4
    assert client.call(adding, [1, 2]) == 3


def _add(url: str, number: int) -> int:
    with Client(url, TOKEN) as client:
        return int(client.call("com.example.sum", [number, 1]))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(
    method: str, client: Client, adding: str, shared_bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [os.path.dirname(__file__), *sys.path])
    assert client.call(adding, [1, 2]) == 3
    with multiprocessing.get_context(method).Pool(2) as pool:
        work = [(shared_bridge.url, i) for i in range(6)]
        assert pool.starmap(_add, work) == [1, 2, 3, 4, 5, 6]


def test_threads_share_a_client(client: Client, adding: str) -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for i in range(20):
            if client.call(adding, [number, i]) != number + i:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_two_event_loops(client: Client, adding: str) -> None:
    async def work() -> list[int]:
        assert await client.apublish("com.example.t", ["x"], key=str(time.monotonic_ns()))
        return list(await asyncio.gather(*(client.acall(adding, [i, 1]) for i in range(30))))

    assert asyncio.run(work()) == list(range(1, 31))
    assert asyncio.run(work()) == list(range(1, 31))
    pool = client._transport._async  # type: ignore[attr-defined]
    assert len(pool._held) == 0, "connections are closed with their loop"


def test_errors_in_an_event_loop(client: Client, app: App) -> None:
    slow = threading.Event()
    app.registry.rpc("com.example.fails")(lambda: 1 / 0)
    app.registry.rpc("com.example.hangs")(lambda: slow.wait(20))
    client.register(app.endpoints()[0])

    async def work() -> None:
        with pytest.raises(RemoteError):
            await client.acall("com.example.fails")
        with pytest.raises(NoSuchProcedure):
            await client.acall_result("com.example.nobody")
        with pytest.raises(Timeout):
            await client.acall("com.example.hangs", timeout=0.2)

    asyncio.run(work())
    slow.set()


def test_a_bridge_that_is_down_in_an_event_loop() -> None:
    client = Client(f"http://127.0.0.1:{free_port()}", TOKEN, timeout=3)
    start = time.monotonic()
    with pytest.raises(Unavailable, match="cannot be reached"):
        asyncio.run(client.apublish("com.example.t"))
    assert time.monotonic() - start < 3
