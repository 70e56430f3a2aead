"""Under the servers that deployments have."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from anybridge import Client

from realbridge import TOKEN, Bridge, Process, eventually, free_port, serves

HERE = Path(__file__).parent


@pytest.fixture
def client(real: Bridge) -> Iterator[Client]:
    with Client(real.url, TOKEN) as client:
        yield client
        client.unregister([r["procedure"] for r in client.registrations()])
        client.unsubscribe([s["topic"] for s in client.subscriptions()])


@contextmanager
def served(real: Bridge, folder: Path, *command: str) -> Iterator[str]:
    """Runs a server of ``served.py`` with ``PORT`` in its command replaced, as a deployment
    does after ``flask anybridge sync``. Yields its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environ = {
        **os.environ,
        "FLASK_ANYBRIDGE__URL": real.url,
        "FLASK_ANYBRIDGE__TOKEN": TOKEN,
        "FLASK_ANYBRIDGE__CALLBACK_URL": f"{address}/wamp/",
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
    }
    sync = [sys.executable, "-m", "flask", "--app", "served", "anybridge", "sync"]
    log = folder / "server.log"
    with Process(
        [sys.executable, "-m", *(word.replace("PORT", str(port)) for word in command)],
        log,
        lambda: serves(f"{address}/alive/"),
        cwd=folder,
        env=environ,
    ):
        synced = folder / "synced"
        with Process(
            [*sync], synced, lambda: "subscribe com.served" in synced.read_text(), env=environ
        ):
            yield address


def events(folder: Path) -> str:
    """What the app has written of the events that it got: whole lines."""
    file = folder / "events"
    text = file.read_text() if file.exists() else ""
    return text if text.endswith("\n") else ""


def pids(client: Client) -> set[int]:
    """The processes that answered some calls made at once."""
    return {client.call("com.served.pid") for _ in range(20)}


def test_gunicorn_with_forked_workers(real: Bridge, client: Client, tmp_path: Path) -> None:
    command = "gunicorn --preload --workers 2 --bind 127.0.0.1:PORT served:app"
    with served(real, tmp_path, *command.split()):
        found: set[int] = set()

        def both() -> bool:
            found.update(pids(client))
            return len(found) == 2

        eventually(both)
        # Each worker asks the bridge over connections of its own, though the client was
        # made, and used, before the fork.
        answers: dict[int, Any] = {}

        def both_ask() -> bool:
            told = client.call("com.served.upper", ["tea"])
            answers[told["pid"]] = told
            return len(answers) == 2

        eventually(both_ask)
        assert set(answers) == found
        for told in answers.values():
            assert told["upper"] == "TEA"
            assert told["used_before_fork"]
            assert told["made_in"] not in found
        client.publish("com.served.event", ["tea"])
        eventually(lambda: events(tmp_path))
        assert events(tmp_path) == "tea\n"


def test_uvicorn_by_a_wrapper(real: Bridge, client: Client, tmp_path: Path) -> None:
    command = "uvicorn --port PORT served:asgi_app"
    with served(real, tmp_path, *command.split()):
        assert client.call("com.served.upper", ["tea"])["upper"] == "TEA"
        assert client.call("com.served.async_upper", ["tea"]) == "TEA"
        client.publish("com.served.event", ["tea"])
        eventually(lambda: events(tmp_path))
