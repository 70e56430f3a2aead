import socket
import time
from decimal import Decimal

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import Client, TestCase, TransactionTestCase, override_settings
from django.utils.translation import gettext_lazy

from anybridge_django import RemoteError, Unavailable, acall, apublish, call, publish
from anybridge_django.conf import raw
from anybridge_django.signals import published
from anybridge_django.testing import BridgeTestMixin, local_bridge


class PublishTest(BridgeTestMixin, TransactionTestCase):
    databases: set[str] = {"default", "other"}  # noqa: RUF012 (Django has it so)

    def test_commit_publishes(self):
        response = Client().get("/buy/")
        self.assertEqual(response.status_code, 200)
        (event,) = self.bridge.outbox
        self.assertEqual((event.topic, event.args), ("com.shop.order", ["tea"]))
        self.assertEqual(event.kwargs, {"at": response.json()["order"]})

    def test_rollback_publishes_nothing(self):
        response = Client(raise_request_exception=False).get("/buy/?fail")
        self.assertEqual(response.status_code, 500)
        self.assertEqual(self.bridge.outbox, [])

    def test_id_is_known_before_the_commit(self):
        with transaction.atomic():
            id = publish("topic")
            self.assertTrue(id)
            self.assertEqual(self.bridge.outbox, [])
        self.assertEqual([e.id for e in self.bridge.outbox], [id])

    def test_values_are_those_of_the_moment(self):
        order = {"name": "tea", "price": Decimal("1.10"), "label": gettext_lazy("Yes")}
        with transaction.atomic():
            publish("topic", [order])
            order["name"] = "cake"
        expected = {"name": "tea", "price": "1.10", "label": "Yes"}
        self.assertEqual(self.bridge.outbox[0].args, [expected])

    def test_what_has_no_json_is_raised_at_once(self):
        with transaction.atomic(), self.assertRaises(TypeError):
            publish("topic", [object()])

    def test_args_are_a_list(self):
        for wrong in ("text", b"bytes", {"a": 1}):
            with self.assertRaises(TypeError):
                publish("topic", wrong)  # type: ignore[arg-type]
            with self.assertRaises(TypeError):
                call("procedure", wrong)  # type: ignore[arg-type]

    def test_other_settings_leave_the_stand_in(self):
        with override_settings(ANYBRIDGE={**raw(), "TIMEOUT": 3}):
            publish("one")
        publish("two")
        self.assertEqual([e.topic for e in self.bridge.outbox], ["one", "two"])

    def test_at_once(self):
        with transaction.atomic():
            publish("topic", on_commit=False)
            self.assertEqual(len(self.bridge.outbox), 1)
        with local_bridge(PUBLISH_ON_COMMIT=False) as bridge, transaction.atomic():
            publish("topic")
            self.assertEqual(len(bridge.outbox), 1)

    def test_other_database(self):
        with transaction.atomic():
            publish("topic", using="other")  # which has no transaction
            self.assertEqual(len(self.bridge.outbox), 1)

    def test_signal(self):
        told = []

        def receiver(**values):
            told.append((values["topic"], values["args"], values["id"]))

        published.connect(receiver)
        self.addCleanup(published.disconnect, receiver)
        id = publish("topic", [1])
        self.assertEqual(told, [("topic", [1], id)])

    async def test_async(self):
        self.bridge.respond("com.price", 3)
        self.assertEqual(await acall("com.price", ["tea"]), 3)
        id = await apublish("topic", [1])
        self.assertEqual([e.id for e in self.bridge.outbox], [id])


class CallTest(BridgeTestMixin, TestCase):
    databases: set[str] = {"default", "other"}  # noqa: RUF012 (Django has it so)

    def test_answers(self):
        self.bridge.respond("value", 1)
        self.bridge.respond("function", lambda a, b: a + b)
        self.bridge.respond("error", RemoteError("com.error"))
        self.assertEqual(call("value"), 1)
        self.assertEqual(call("function", [1, 2]), 3)
        with self.assertRaises(RemoteError):
            call("error")

    def test_first_description(self):
        self.bridge.respond("function", "what it says")
        with self.captureOnCommitCallbacks(execute=True):
            response = Client().get("/ordinary/")
        self.assertEqual(response.json(), {"result": "what it says"})
        self.assertEqual([(e.topic, e.args) for e in self.bridge.outbox], [("sujet", ["arg1"])])


class BridgeDownTest(TransactionTestCase):
    databases: set[str] = {"default", "other"}  # noqa: RUF012 (Django has it so)

    def settings_for(self, port, **more):
        here = {**raw(), "URL": f"http://127.0.0.1:{port}/", "BACKEND": "anybridge.Client"}
        return override_settings(ANYBRIDGE={**here, **more})

    def setUp(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.closed = s.getsockname()[1]

    def test_call_is_unavailable_and_the_page_renders(self):
        started = time.monotonic()
        with self.settings_for(self.closed, TIMEOUT=2):
            with self.assertRaises(Unavailable):
                call("com.price")
            self.assertContains(Client().get("/shop/"), "ask us")
        self.assertLess(time.monotonic() - started, 4.5)

    def test_publish_after_commit_does_not_break_the_page(self):
        with (
            self.settings_for(self.closed, TIMEOUT=1),
            self.assertLogs("anybridge_django", "ERROR") as logs,
        ):
            self.assertEqual(Client().get("/buy/").status_code, 200)
        self.assertIn("com.shop.order", logs.output[0])

    def test_publish_outside_a_transaction_raises(self):
        with self.settings_for(self.closed, TIMEOUT=1), self.assertRaises(Unavailable):
            publish("topic")

    def test_silent_bridge_takes_no_longer_than_the_timeout(self):
        from anybridge import Timeout

        with (
            socket.create_server(("127.0.0.1", 0)) as silent,
            self.settings_for(silent.getsockname()[1], TIMEOUT=1),
        ):
            started = time.monotonic()
            with self.assertRaises((Timeout, Unavailable)):
                call("com.price")
            self.assertLess(time.monotonic() - started, 3)

    def test_nothing_configured(self):
        with override_settings(ANYBRIDGE={}), self.assertRaises(ImproperlyConfigured):
            call("com.price")
