import json
import time
import uuid

from anybridge.testing import signed_request
from django.core.cache import cache
from django.test import AsyncClient, Client, TestCase, override_settings

from anybridge_django.conf import raw
from anybridge_django.signals import event_received, handler_failed, invocation_received
from anybridge_django.testing import BridgeClient
from shop import bridge
from shop.models import Order

TOKEN = "the-token-of-the-shop-0123456789"


def changed(**values):
    return override_settings(ANYBRIDGE={**raw(), **values})


class DispatcherCase(TestCase):
    databases: set[str] = {"default", "other"}  # noqa: RUF012 (Django has it so)

    def setUp(self):
        cache.clear()
        bridge.events.clear()
        bridge.outcomes.clear()
        bridge.failures = 0
        self.bridge_client = BridgeClient()
        self.invoke = self.bridge_client.invoke
        self.deliver = self.bridge_client.deliver


class InvocationTest(DispatcherCase):
    def test_result_passes_csrf_login_and_atomic_requests(self):
        response = self.invoke("com.shop.add2", [20, 22])
        self.assertEqual((response.status_code, response.json()), (200, 42))
        self.assertEqual(response["Content-Type"], "application/json")

    def test_other_views_stay_protected(self):
        self.assertEqual(Client().get("/wamp/").status_code, 405)
        self.assertEqual(Client(enforce_csrf_checks=True).post("/buy/").status_code, 403)

    def test_bare_decorator_names_by_function(self):
        self.assertEqual(self.invoke("plain", ["é"]).json(), "é")

    def test_nothing_is_204(self):
        response = self.invoke("com.shop.nothing")
        self.assertEqual((response.status_code, response.content), (204, b""))

    def test_full_result(self):
        response = self.invoke("com.shop.stock", ["tea"])
        self.assertEqual(response["Content-Type"], "application/vnd.anybridge.result+json")
        self.assertEqual(json.loads(response.content), {"args": ["tea"], "kwargs": {"left": 3}})

    def test_application_error(self):
        response = self.invoke("com.shop.stock", ["cake"])
        self.assertEqual(response.status_code, 500)
        problem = json.loads(response.content)
        self.assertEqual(problem["error"], "com.shop.error.unknown")
        self.assertEqual(problem["args"], ["cake"])
        self.assertEqual(problem["kwargs"], {"procedure": "com.shop.stock"})

    def test_unknown_procedure_is_404(self):
        response = self.invoke("com.shop.unknown")
        self.assertEqual(response.status_code, 404)
        self.assertIn("no_such_procedure", response.content.decode())

    def test_exception_tells_nothing(self):
        response = self.invoke("com.shop.divide", [1, 0])
        self.assertEqual(response.status_code, 500)
        self.assertEqual(response["Content-Type"], "application/problem+json")
        problem = json.loads(response.content)
        self.assertEqual(problem["error"], "anybridge.error.exception")
        self.assertNotIn("division", response.content.decode())
        self.assertNotIn("Traceback", response.content.decode())

    @override_settings(DEBUG=True)
    def test_exception_in_debug_tells_its_text(self):
        self.assertIn("division", self.invoke("com.shop.divide", [1, 0]).content.decode())

    def test_sync_handler_has_a_transaction_of_its_own(self):
        self.assertTrue(self.invoke("com.shop.where").json()["atomic"])


class ServerKindTest(DispatcherCase):
    def test_async_handler_under_wsgi(self):
        self.assertEqual(self.invoke("com.shop.later", [1]).json(), [1, "async"])

    async def test_async_handler_under_asgi(self):
        response = await self.apost("invocation", "com.shop.later", [1])
        self.assertEqual(response.json(), [1, "async"])

    async def test_sync_handler_under_asgi_runs_in_a_thread_with_the_database(self):
        response = await self.apost("event", "com.shop.flaky", ["asgi"])
        self.assertEqual(response.status_code, 204)
        self.assertEqual(await Order.objects.filter(name="asgi").acount(), 1)

    async def test_result_under_asgi(self):
        response = await self.apost("invocation", "com.shop.add2", [20, 22])
        self.assertEqual((response.status_code, response.json()), (200, 42))

    def test_async_event(self):
        self.assertEqual(self.deliver("com.shop.async", [1]).status_code, 204)
        self.assertEqual(bridge.events, [("async", 1)])

    async def apost(self, kind, name, args):
        headers, body = signed_request(kind, name, args, None, token=TOKEN)
        return await AsyncClient(enforce_csrf_checks=True).post(
            "/wamp/", data=body, content_type="application/json", headers=headers
        )


class SignatureTest(DispatcherCase):
    def test_unsigned_and_foreign_are_refused(self):
        unsigned = Client().post("/wamp/", data="{}", content_type="application/json")
        self.assertEqual(unsigned.status_code, 401)
        self.assertEqual(self.invoke("com.shop.add2", [1, 2], token="other").status_code, 401)

    def test_stale_is_refused(self):
        now = int(time.time())
        for off in (-301, 301):
            response = self.invoke("com.shop.add2", [1, 2], timestamp=now + off)
            self.assertEqual(response.status_code, 401)
        self.assertEqual(self.invoke("com.shop.add2", [1, 2], timestamp=now - 290).json(), 3)

    def test_tolerance(self):
        with changed(TOLERANCE=10):
            old = int(time.time()) - 20
            self.assertEqual(self.invoke("com.shop.add2", [1, 2], timestamp=old).status_code, 401)

    def test_two_keys_while_a_token_is_replaced(self):
        with changed(TOKEN="the-new-token", PREVIOUS_TOKEN=TOKEN):
            for token in (TOKEN, "the-new-token"):
                self.assertEqual(self.invoke("com.shop.add2", [1, 2], token=token).json(), 3)
        with changed(TOKEN="the-new-token"):
            self.assertEqual(self.invoke("com.shop.add2", [1, 2], token=TOKEN).status_code, 401)

    def test_secrets(self):
        from anybridge.signing import derive_key

        with changed(SECRETS=[derive_key("a secret of the endpoints")]):
            response = self.invoke("com.shop.add2", [1, 2], token="a secret of the endpoints")
            self.assertEqual(response.json(), 3)


class EventTest(DispatcherCase):
    def test_event_and_its_context(self):
        self.assertEqual(self.deliver("com.shop.order.new", ["tea"]).status_code, 204)
        self.assertEqual(bridge.events, [("com.shop.order.new", "tea")])

    def test_replayed_event_runs_once(self):
        for _ in range(2):
            response = self.deliver("com.shop.order", ["tea"], id="evt_1")
            self.assertIn(response.status_code, (200, 204))
        self.assertEqual(len(bridge.events), 1)

    def test_event_that_fails_once_comes_again_and_succeeds_once(self):
        bridge.failures = 1
        answers = [self.deliver("com.shop.flaky", ["tea"], id="evt_2") for _ in range(3)]
        self.assertEqual(answers[0].status_code, 500)
        self.assertTrue(all(a.status_code in (200, 204) for a in answers[1:]))
        self.assertEqual(bridge.events, [("flaky", "tea")])
        self.assertEqual(Order.objects.filter(name="tea").count(), 1)  # the failure's is undone

    def test_event_that_is_being_handled_is_put_off(self):
        during = []

        def slow(**_):
            if not during:
                during.append(None)
                during[0] = self.deliver("com.shop.order", ["tea"], id="evt_3")

        event_received.connect(slow)
        self.addCleanup(event_received.disconnect, slow)
        self.assertEqual(self.deliver("com.shop.order", ["tea"], id="evt_3").status_code, 204)
        self.assertEqual(during[0].status_code, 503)
        self.assertIn("Retry-After", during[0])
        self.assertEqual(len(bridge.events), 1)

    def test_gone_is_410(self):
        self.assertEqual(self.deliver("com.shop.closed").status_code, 410)


class SignalTest(DispatcherCase):
    def test_signals(self):
        seen = []

        def receiver(**values):
            seen.append(values)
            raise ValueError("receivers may fail")

        for signal in (event_received, invocation_received, handler_failed):
            signal.connect(receiver)
            self.addCleanup(signal.disconnect, receiver)
        id = str(uuid.uuid4())
        self.deliver("com.shop.order", ["tea"], id=id)
        self.invoke("com.shop.divide", [1, 0])
        signals = [values["signal"] for values in seen]
        self.assertEqual(signals, [event_received, invocation_received, handler_failed])
        self.assertEqual(seen[0]["context"].id, id)
        self.assertIsInstance(seen[2]["exception"], ZeroDivisionError)
