"""For whom a call is made."""

from anybridge import Context
from django.contrib.auth.models import AnonymousUser, User
from django.test import TestCase, override_settings
from django.utils.functional import SimpleLazyObject

from anybridge_django import acall, auser_of, call, call_later, call_result, user_of
from anybridge_django.testing import BridgeClient, BridgeTestMixin


class OutTest(BridgeTestMixin, TestCase):
    databases: set[str] = {"default", "other"}  # noqa: RUF012 (Django has it so)

    def test_names_and_users(self):
        self.bridge.respond("who", None)
        alice = User(username="alice")
        for user in ("alice", alice, SimpleLazyObject(lambda: alice)):
            call("who", user=user)
        call_result("who", user=alice)
        call_later("who", user=alice, on_commit=False)
        self.assertEqual([c.user for c in self.bridge.calls], ["alice"] * 5)

    def test_nobody(self):
        self.bridge.respond("who", None)
        for user in (None, AnonymousUser(), SimpleLazyObject(AnonymousUser)):
            call("who", user=user)
        self.assertEqual([c.user for c in self.bridge.calls], [None] * 3)

    def test_what_is_no_user(self):
        with self.assertRaises(ValueError):
            call("who", user="")
        with self.assertRaises(ValueError):
            call("who", user=User())
        with self.assertRaises(TypeError):
            call("who", user=7)
        self.assertEqual(self.bridge.calls, [])

    async def test_async(self):
        self.bridge.respond("who", None)
        await acall("who", user=User(username="alice"))
        self.assertEqual(self.bridge.calls[0].user, "alice")


class InTest(TestCase):
    databases: set[str] = {"default", "other"}  # noqa: RUF012 (Django has it so)

    def setUp(self):
        self.alice = User.objects.create_user("alice")

    def context(self, token="shop", user="alice", kind="invocation"):
        side = "publisher" if kind == "event" else "caller"
        return Context("id", kind, "who", {f"{side}_token": token, f"{side}_user": user})

    def test_user(self):
        self.assertEqual(user_of(self.context()), self.alice)
        self.assertEqual(user_of(self.context(), tokens=["shop"]), self.alice)

    def test_strangers_are_anonymous(self):
        for context in (
            self.context(user=""),
            self.context(user="bob"),
            Context("id", "event", ""),
        ):
            self.assertTrue(user_of(context).is_anonymous)
        self.assertTrue(user_of(self.context(token="partner"), tokens=["shop"]).is_anonymous)
        self.assertTrue(user_of(self.context(), tokens=[]).is_anonymous)
        with self.assertRaises(TypeError):
            user_of(self.context(), tokens="shop")

    def test_who_has_left_is_anonymous(self):
        User.objects.filter(pk=self.alice.pk).update(is_active=False)
        self.assertTrue(user_of(self.context()).is_anonymous)

    async def test_async(self):
        self.assertEqual(await auser_of(self.context()), self.alice)

    @override_settings(DEBUG=False)
    def test_handler(self):
        details = {"caller_token": "shop", "caller_user": "alice"}
        answer = BridgeClient().invoke("com.shop.who", details=details)
        self.assertEqual(answer.json(), ["alice", "shop"])
        claimed = BridgeClient().invoke("com.shop.who", details={"caller_authid": "alice"})
        self.assertEqual(claimed.json(), ["", ""])
