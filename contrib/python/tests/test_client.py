"""The client's own part, without a bridge; and what stands in for one."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import json
import pickle
import sys
import uuid
from typing import Any

import pytest

from anybridge import (
    ApplicationError,
    BridgeError,
    Client,
    InvalidRequest,
    NoSuchProcedure,
    RemoteError,
    Result,
    Timeout,
    Unavailable,
)
from anybridge.encoding import encode
from anybridge.problem import error_from
from anybridge.request import Answer, Request
from anybridge.testing import Called, LocalBridge


class Scripted:
    """A transport that answers as it is told, and keeps what was asked."""

    def __init__(self, *answers: Answer | BridgeError) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []

    def send(self, request: Request, timeout: float) -> Answer:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, BridgeError):
            raise answer
        return answer

    async def asend(self, request: Request, timeout: float) -> Answer:
        return self.send(request, timeout)

    def close(self) -> None:
        pass


def scripted(*answers: Answer | BridgeError, **options: Any) -> tuple[Client, Scripted]:
    client, transport = Client("http://127.0.0.1:1/", "t", **options), Scripted(*answers)
    client._transport = transport
    return client, transport


def problem(status: int, code: str, **headers: str) -> Answer:
    body = {"type": f"urn:anybridge:error:{code}", "status": status, "detail": "why"}
    return Answer(status, headers, json.dumps(body).encode())


PUBLISHED = Answer(200, {}, b'{"id":"evt_1"}')


def test_publish_is_repeated_under_one_key() -> None:
    busy = problem(409, "already_exists", **{"retry-after": "0"})
    busy_later = problem(409, "already_exists", **{"retry-after": "1"})
    for asked in (Unavailable("broken"), Timeout("late"), problem(503, "unavailable"), busy_later):
        client, transport = scripted(asked, asked, PUBLISHED)
        assert client.publish("com.example.t", ["x"]) == "evt_1"
        keys = {request.headers["Idempotency-Key"] for request in transport.requests}
        assert (len(transport.requests), len(keys)) == (3, 1)
        assert len({request.body for request in transport.requests}) == 1
    client, transport = scripted(busy)
    with pytest.raises(InvalidRequest):
        client.publish("com.example.t")


def test_a_call_is_not_repeated() -> None:
    for asked in (Unavailable("broken"), problem(503, "unavailable"), Timeout("late")):
        client, transport = scripted(asked)
        with pytest.raises((Unavailable, Timeout)):
            client.call("com.example.p")
        assert len(transport.requests) == 1


def test_retries_end_before_the_deadline() -> None:
    client, transport = scripted(problem(429, "too_many_requests", **{"retry-after": "60"}))
    with pytest.raises(Unavailable) as caught:
        client.publish("com.example.t")
    assert (caught.value.retry_after, len(transport.requests)) == (60, 1)
    client, transport = scripted(*[Unavailable("broken")] * 3, retries=2)
    with pytest.raises(Unavailable):
        client.publish("com.example.t")
    assert len(transport.requests) == 3


def test_what_is_sent() -> None:
    client, transport = scripted(*[PUBLISHED] * 2, Answer(202, {}, b'{"id":"c"}'))
    client.publish("irc:#ops/é", ("a",), {"b": {1}}, key="k", exclude_me=True, retain=True)
    request = transport.requests[0]
    assert request.path == "/publish/irc%3A%23ops%2F%C3%A9/"
    assert request.headers["Authorization"] == "Bearer t"
    assert request.headers["Idempotency-Key"] == "k"
    assert json.loads(request.body or b"") == {
        "args": ["a"],
        "kwargs": {"b": [1]},
        "exclude_me": True,
        "options": {"retain": True},
    }
    client.publish("t")
    assert transport.requests[1].body == b"{}"
    assert client.call_later("p", callback="http://127.0.0.1/") == "c"


def test_mistakes_are_told_before_anything_is_sent() -> None:
    client, transport = scripted()
    text: Any = "one"
    with pytest.raises(TypeError, match="args is a list"):
        client.publish("t", text)
    with pytest.raises(TypeError):
        client.publish("t", [object()])
    with pytest.raises(ValueError, match="not JSON compliant"):
        client.publish("t", [float("nan")])
    for name in ("", ".", ".."):
        with pytest.raises(InvalidRequest):
            client.call(name)
    assert transport.requests == []
    for url in ("", "localhost:8181", "ftp://h"):
        with pytest.raises(ValueError, match="URL"):
            Client(url, "t")
    for token in ("", "a b", "a\r\nX: y"):
        with pytest.raises(ValueError, match="token"):
            Client("http://h", token)
    with pytest.raises(ValueError, match="timeout"):
        Client("http://h", "t", timeout=0)
    assert "secret" not in repr(Client("http://h", "secret"))


def test_an_answer_that_is_not_a_bridges() -> None:
    for answer in (Answer(200, {}, b"<html>"), Answer(302, {}, b""), Answer(200, {}, b"[]")):
        client, _ = scripted(answer)
        with pytest.raises(BridgeError, match="not the answer of a bridge"):
            client.call("p")
    client, _ = scripted(Answer(502, {}, b"<html>"))
    with pytest.raises(Unavailable, match="status 502"):
        client.call("p")


def test_without_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ImportError, match=r"pip install anybridge\[async\]"):
        asyncio.run(Client("http://127.0.0.1:1", "t").acall("p"))


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, datetime.timezone.utc), "03:04:05.678Z"),
        (datetime.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4, 5, 678901), "03:04:05.678"),
        (datetime.timedelta(days=1, seconds=3723, microseconds=5), "P1DT01H02M03.000005S"),
        (datetime.timedelta(seconds=-1), "-P0DT00H00M01S"),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({1}, [1]),
        ((1, (2,)), [1, [2]]),
    ],
)
def test_values_as_json(value: Any, want: Any) -> None:
    got = json.loads(encode(value))
    assert got == want or (isinstance(got, str) and got.endswith("T" + str(want)))


def test_values_of_results() -> None:
    assert Result().value is None
    assert Result([1]).value == 1
    assert Result([None]).value is None
    for full in (Result([1, 2]), Result([1], {"a": 1}), Result([], {"a": 1})):
        assert full.value is full


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("away", status=503, code="unavailable", retry_after=2.0),
        RemoteError("com.no", [1], {"a": 2}, detail="d"),
        ApplicationError("com.no", [1], {"a": 2}),
        error_from(501, {}, None, "status 501"),
    ],
)
def test_errors_can_be_pickled(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def test_local_bridge() -> None:
    bridge = LocalBridge()
    id = bridge.publish("t", ("a",), {"b": (1,)}, retain=True)
    assert asyncio.run(bridge.apublish("u", key="k")) == bridge.publish("u", key="k")
    first, second = bridge.outbox
    assert (first.topic, first.args, first.kwargs, first.id) == ("t", ["a"], {"b": [1]}, id)
    assert (first.options, second.topic) == ({"retain": True}, "u")
    with pytest.raises(InvalidRequest):
        bridge.publish("u", [1], key="k")

    bridge.respond("value", {"a": 1})
    bridge.respond("add", lambda a, b: a + b)
    bridge.respond("full", Result([1, 2]))
    bridge.respond("away", Unavailable("away"))
    bridge.respond("refuse", ApplicationError("com.no", (1,)))
    assert bridge.call("value") == {"a": 1}
    assert bridge.call("add", [1], {"b": 2}) == 3
    assert bridge.call_result("full") == Result([1, 2])
    with pytest.raises(Unavailable, match="away"):
        bridge.call("away")
    with pytest.raises(RemoteError) as caught:
        bridge.call("refuse")
    assert (caught.value.uri, caught.value.args) == ("com.no", [1])
    with pytest.raises(NoSuchProcedure):
        bridge.call("nobody")
    assert bridge.call_later("value", [1], callback="http://127.0.0.1/")
    assert bridge.calls[0] == Called("value", [], {})
    assert bridge.calls[-1] == Called("value", [1], {}, "http://127.0.0.1/")

    assert bridge.subscribe({"t": "http://a/"}) == {"t": {"id": "t"}}
    assert bridge.register({"p": {"url": "http://a/", "match": "prefix"}}) == {"p": {"id": "p"}}
    assert bridge.registrations()[0]["match"] == "prefix"
    assert bridge.subscriptions()[0]["topic"] == "t"
    assert bridge.unsubscribe(["t", "u"]) == {"unsubscribed": ["t"], "unknown": ["u"]}
    bridge.clear()
    assert (bridge.outbox, bridge.calls, bridge.registrations()) == ([], [], [])
