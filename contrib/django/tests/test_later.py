"""call_later and its outcomes, without a bridge."""

import io

from asgiref.sync import sync_to_async
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import transaction
from django.test import TransactionTestCase

from anybridge_django import call_later, rpc
from anybridge_django.results import Results, results
from anybridge_django.signals import handler_failed, result_received
from anybridge_django.testing import BridgeClient, BridgeTestMixin
from shop import bridge


class CallLaterTest(BridgeTestMixin, TransactionTestCase):
    databases: set[str] = {"default", "other"}  # noqa: RUF012 (Django has it so)

    def test_leaves_after_the_commit(self):
        with transaction.atomic():
            id = call_later("com.price", ["tea"], user="alice")
            self.assertEqual(self.bridge.calls, [])
        (made,) = self.bridge.calls
        self.assertEqual((made.procedure, made.args, made.user), ("com.price", ["tea"], "alice"))
        self.assertEqual(made.callback, f"http://localhost:8000/wamp/?c={id}")

    def test_rollback_calls_nothing(self):
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            call_later("com.price")
            raise ZeroDivisionError
        self.assertEqual(self.bridge.calls, [])

    def test_at_once(self):
        with transaction.atomic():
            call_later("com.price", on_commit=False, callback="http://localhost/elsewhere/")
            (made,) = self.bridge.calls
            self.assertEqual(made.callback, "http://localhost/elsewhere/")

    def test_same_key_calls_once(self):
        for _ in range(2):
            self.assertEqual(call_later("com.price", key="price 1"), "price 1")
        self.assertEqual(len(self.bridge.calls), 1)

    def test_without_anybody_for_the_outcome(self):
        kept = results._functions.pop("")
        self.addCleanup(results._functions.__setitem__, "", kept)
        with self.assertRaises(ImproperlyConfigured):
            call_later("com.price")
        call_later("com.shop.divide", [1, 2])
        call_later("wamp:com.price", callback="http://localhost/elsewhere/")

    async def test_from_async_code(self):
        id = await sync_to_async(call_later)("com.price")
        self.assertIn(id, self.bridge.calls[0].callback or "")


class OutcomeTest(BridgeTestMixin, TransactionTestCase):
    databases: set[str] = {"default", "other"}  # noqa: RUF012 (Django has it so)

    def setUp(self):
        super().setUp()
        cache.clear()
        bridge.outcomes.clear()
        bridge.failures = 0
        self.bridge_client = BridgeClient()
        self.result = self.bridge_client.result

    def test_result_and_error(self):
        self.assertEqual(self.result("id 1", "com.shop.divide", [0.25]).status_code, 204)
        sent = self.result("id 2", "com.price", ["tea"], error="com.shop.error.unknown")
        self.assertEqual(sent.status_code, 204)
        self.assertEqual(
            bridge.outcomes,
            [
                ("id 1", "com.shop.divide", 0.25),
                ("id 2", "com.price", "com.shop.error.unknown: tea"),
            ],
        )

    def test_outcome_comes_again_until_it_is_handled(self):
        failed = []

        def receiver(**values):
            failed.append(values["exception"])

        handler_failed.connect(receiver)
        self.addCleanup(handler_failed.disconnect, receiver)
        for procedure in ("com.shop.divide", "com.price"):  # a plain function, an async one
            bridge.failures = 1
            answers = [
                self.result("id 1", procedure, [1], id=f"res {procedure}").status_code
                for _ in range(3)
            ]
            self.assertEqual(answers, [500, 204, 200])
        self.assertEqual([o[1] for o in bridge.outcomes], ["com.shop.divide", "com.price"])
        self.assertEqual([str(e) for e in failed], ["not yet", "not yet"])

    def test_nobody_takes_it(self):
        kept = results._functions.pop("")
        self.addCleanup(results._functions.__setitem__, "", kept)
        self.assertEqual(self.result("id 1", "com.price", [1]).status_code, 500)

    def test_forged_and_stale(self):
        self.assertEqual(self.result("1", "com.price", token="another").status_code, 401)
        self.assertEqual(self.result("1", "com.price", timestamp=1).status_code, 401)
        self.assertEqual(bridge.outcomes, [])

    def test_signal(self):
        told = []

        def receiver(**values):
            told.append((values["context"].message_id, values["outcome"].value))

        result_received.connect(receiver)
        self.addCleanup(result_received.disconnect, receiver)
        self.result("id 1", "com.price", [3])
        self.assertEqual(told, [("id 1", 3)])

    def test_async_receivers_do_no_harm(self):
        async def receiver(**_):
            pass

        result_received.connect(receiver)
        self.addCleanup(result_received.disconnect, receiver)
        for procedure in ("com.shop.divide", "com.price"):
            self.assertEqual(self.result("id 1", procedure, [3]).status_code, 204)

    def test_list_names_them(self):
        out = io.StringIO()
        call_command("anybridge_list", stdout=out)
        self.assertIn("result  com.shop.divide  exact  shop.bridge.divided\n", out.getvalue())
        self.assertIn("result  *  exact  shop.bridge.other_outcome\n", out.getvalue())


class ResultsTest(TransactionTestCase):
    def test_names(self):
        found = Results()
        found.add("plant:com.price", rpc)
        self.assertIs(found.find("com.price"), rpc)
        self.assertIs(found.find("plant:com.price"), rpc)
        self.assertIsNone(found.find("com.other"))

    def test_clash(self):
        found = Results()
        for function in (rpc, rpc, call_later):
            found.add("com.price", function)
        (clash,) = found.duplicates()
        self.assertIn("anybridge_django.sending.call_later", clash)
