"""The same scenarios under gunicorn (WSGI, preloaded, two forked workers) and uvicorn (ASGI),
with a real bridge and a real WAMP component.

The site has CSRF protection, LoginRequiredMiddleware and ATOMIC_REQUESTS on.
"""

import functools
import time
from concurrent.futures import ThreadPoolExecutor

import anybridge
import pytest
from anybridge.testing import signed_request

from realbridge import TOKEN, Component, RealBridge, available, eventually
from serving import SERVERS, Site

pytestmark = pytest.mark.skipif(not available(), reason="needs Go and the bridge's sources")


@pytest.fixture(scope="module")
def bridge():
    bridge = RealBridge()
    yield bridge
    bridge.stop()


@pytest.fixture(scope="module")
def component(bridge):
    component = Component(bridge)
    yield component
    component.stop()


@pytest.fixture(scope="module", params=list(SERVERS))
def site(request, bridge, component):
    site = Site(request.param, bridge.url, token=TOKEN)
    yield site
    site.stop()
    with anybridge.Client(bridge.url, TOKEN) as client:
        client.unregister([r["procedure"] for r in client.registrations()])
        client.unsubscribe([s["topic"] for s in client.subscriptions()])


@pytest.fixture
def client(bridge):
    with anybridge.Client(bridge.url, TOKEN, timeout=20) as client:
        yield client


def test_site_calls_component(site):
    for path in ("/ask/", "/ask-async/"):
        assert site.get(path + "?a=20&b=22")[1]["sum"] == 42


def test_component_calls_site(site, component):
    assert component.call("com.served.add2", 20, 22) == ["result", 42]
    assert component.call("com.served.add2", a=20, b=22) == ["result", 42]
    assert component.call("com.served.later", "é") == ["result", ["é", "async"]]


def test_site_publishes_to_component(site, component):
    value = f"{site.url} hello"
    assert site.get("/announce/?value=" + value.replace(" ", "+"))[0] == 200
    assert site.get("/announce-async/?value=" + value.replace(" ", "+"))[0] == 200
    eventually(lambda: [value] in component.heard("com.published.sync"))
    eventually(lambda: [value] in component.heard("com.published.async"))


def test_component_publishes_to_site(site, component):
    def is_there(topic):
        return site.happened(topic) == [{"tea": 2}]

    for topic in ("event", "event_async"):
        component.publish(f"com.served.{topic}", {"tea": 2})
        eventually(functools.partial(is_there, topic))


def test_rollback_publishes_and_calls_nothing(site, component):
    before = len(component.heard("com.published.sync")), len(site.happened("outcome"))
    assert site.get("/announce/?value=undone&b=1000&fail")[0] == 500
    status, id = site.get("/announce/?value=done&b=41")
    assert status == 200
    # What came first would be here first.
    eventually(lambda: component.heard("com.published.sync")[before[0] :] == [["done"]])
    eventually(lambda: site.happened("outcome")[before[1] :] == [[id, 42]])
    assert "undone" not in site.happened("announced")


def test_outcome_that_is_an_error(site):
    before = len(site.happened("outcome"))
    _, id = site.get("/announce/?value=odd&procedure=com.served.nobody")
    eventually(lambda: site.happened("outcome")[before:] == [[id, "NoSuchProcedure"]])


def test_handler_that_fails_once(site, component):
    component.publish("com.served.flaky", 1)
    component.publish("com.served.flaky_async", 2)
    eventually(lambda: site.happened("flaky") and site.happened("flaky_async"))
    component.publish("com.served.flaky", 3)
    eventually(lambda: 3 in site.happened("flaky"))
    assert (site.happened("flaky"), site.happened("flaky_async")) == ([1, 3], [2])


def test_replayed_event_is_handled_once(site):
    headers, body = signed_request("event", "com.served.event", ["replayed"], token=TOKEN)
    with ThreadPoolExecutor(4) as pool:  # both workers get it, some at the same time
        answers = list(pool.map(lambda _: site.post("/wamp/", body, headers), range(8)))
    assert set(answers) <= {200, 204, 503}
    assert answers.count(204) == 1
    assert site.post("/wamp/", body, headers) == 200
    assert site.happened("event").count("replayed") == 1


def test_unsigned_stale_and_forged_are_refused(site):
    def status(**how):
        headers, body = signed_request("event", "com.served.event", ["refused"], **how)
        return site.post("/wamp/", body, headers)

    assert site.post("/wamp/", b"{}") == 401
    assert status(token="another-token-0123456789") == 401
    for off in (-600, 600):
        assert status(token=TOKEN, timestamp=int(time.time()) + off) == 401
    headers, body = signed_request("event", "com.served.event", ["refused"], token=TOKEN)
    assert site.post("/wamp/", body.replace(b"refused", b"REFUSED"), headers) == 401
    assert not {"refused", "REFUSED"} & {str(value) for value in site.happened("event")}


def test_gone_unsubscribes(site, client, component):
    def topics():
        return {s["topic"] for s in client.subscriptions()}

    assert "com.served.closed" in topics()
    component.publish("com.served.closed")
    eventually(lambda: "com.served.closed" not in topics())
    assert "com.served.event" in topics()


def test_exception_is_an_error_that_tells_nothing(site, component):
    for procedure in ("com.served.fails", "com.served.fails_async"):
        told = component.call(procedure)
        assert told == ["error", "anybridge.error.exception", []]
    status, told = site.get("/errors/")
    assert (status, told[0], told[1]) == (200, "anybridge.error.exception", [])
    assert "secret" not in str(told)
    assert site.happened("fails") == []  # rolled back


def test_unknown_procedure(site, component, client):
    want = "wamp.error.no_such_procedure"
    assert component.call("com.served.nobody")[:2] == ["error", want]
    client.register({"com.served.removed": site.url + "/wamp/"})  # of a former release
    assert component.call("com.served.removed")[:2] == ["error", want]


def test_protection_of_the_other_views_is_on(site):
    assert site.post("/form/") == 403  # no CSRF token
    assert site.get("/private/")[0] == 302  # to the login


def test_call_for_a_user_who_is_logged_in(site, component, client):
    visitor = site.visitor()
    assert visitor.get("/login/")[0] == 200
    assert visitor.get("/private/") == (200, "you are alice")
    assert visitor.get("/as-me/") == (200, ["alice", "shop"])
    assert visitor.get("/as-me-async/") == (200, ["alice", "shop"])
    # Nobody, and somebody whom the site does not know.
    assert client.call("com.served.who") == ["", "shop"]
    assert client.call("com.served.who", user="mallory") == ["", "shop"]
    # A component has no token, and what it claims is not believed.
    assert component.call("com.served.who") == ["result", ["", ""]]


def test_both_workers_answer_and_use_the_client(site, client):
    with ThreadPoolExecutor(4) as pool:

        def pids(function):
            found = set()
            end = time.monotonic() + 30
            while len(found) < 2 and time.monotonic() < end:
                found.update(pool.map(function, range(4)))
            return found

        def ask(n):
            answer = site.get(f"/ask/?a={n}&b=1000")[1]
            assert answer["sum"] == n + 1000
            return answer["pid"]

        if "uvicorn" in site.process.args:
            assert len(set(pool.map(lambda _: client.call("com.served.pid"), range(4)))) == 1
            return
        workers = pids(lambda _: client.call("com.served.pid"))
        assert len(workers) == 2
        assert site.process.pid not in workers
        assert "before the fork: called" in site.log.read_text()
        assert pids(ask) == workers


@pytest.mark.parametrize("server", SERVERS)
def test_bridge_that_is_down(server):
    site = Site(server, token=TOKEN)
    try:
        status, told = site.get("/shop/")
        assert (status, told["price"]) == (200, "ask us")
        assert told["seconds"] < 6  # the timeout is 5
        assert site.get("/announce/?value=1")[0] == 200  # logged, after the commit
        assert site.happened("announced") == ["1"]
    finally:
        site.stop()


def test_debug_tells_the_text_and_no_traceback(bridge, component):
    site = Site("gunicorn", bridge.url, token=TOKEN, debug=True)
    try:
        for procedure in ("com.served.fails", "com.served.fails_async"):
            told = component.call(procedure)
            assert told[1:] == ["anybridge.error.exception", ["RuntimeError: a secret of ours"]]
    finally:
        site.stop()
