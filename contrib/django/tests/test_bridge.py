"""Against a real bridge: Django serves, the bridge calls back."""

import asyncio
import io
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from urllib.request import urlopen

import anybridge
from anybridge import AuthError
from anybridge.signing import derive_key
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client, LiveServerTestCase, override_settings

import realbridge
from anybridge_django import (
    NoSuchProcedure,
    RemoteError,
    Unavailable,
    acall,
    call,
    call_later,
    call_result,
    get_client,
    publish,
)
from anybridge_django.conf import raw
from realbridge import eventually
from shop import bridge, views
from shop.models import Order


def command(*args, **options):
    out = io.StringIO()
    call_command(*args, stdout=out, **options)
    return out.getvalue()


@unittest.skipUnless(realbridge.available(), "needs Go and the bridge's sources")
class RealBridgeTest(LiveServerTestCase):
    databases: set[str] = {"default", "other"}  # noqa: RUF012 (Django has it so)
    real: realbridge.RealBridge

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.real = realbridge.RealBridge(disclose=True)
        cls.addClassCleanup(cls.real.stop)

    def setUp(self):
        cache.clear()
        bridge.events.clear()
        bridge.outcomes.clear()
        views.received.clear()
        bridge.failures = 0
        here = {
            **raw(),
            "URL": self.real.url,
            "TOKEN": realbridge.TOKEN,
            "CALLBACK_URL": self.live_server_url + "/wamp/",
            "BACKEND": "anybridge.Client",
        }
        overridden = override_settings(ANYBRIDGE=here)
        overridden.enable()
        self.addCleanup(overridden.disable)
        self.addCleanup(self.forget)
        command("anybridge_sync")

    def forget(self):
        with anybridge.Client(self.real.url, realbridge.TOKEN) as client:
            client.unregister([r["procedure"] for r in client.registrations()])
            client.unsubscribe([s["topic"] for s in client.subscriptions()])

    def test_procedures(self):
        self.assertEqual(call("com.shop.add2", [20, 22]), 42)
        self.assertEqual(call("com.shop.later", ["é"]), ["é", "async"])
        self.assertIsNone(call("com.shop.nothing"))
        result = get_client().call_result("com.shop.stock", ["tea"])
        self.assertEqual((result.args, result.kwargs), (["tea"], {"left": 3}))

    def test_errors(self):
        with self.assertRaises(RemoteError) as raised:
            call("com.shop.stock", ["cake"])
        self.assertEqual(raised.exception.uri, "com.shop.error.unknown")
        self.assertEqual(raised.exception.args, ["cake"])
        with self.assertRaises(RemoteError) as raised:
            call("com.shop.divide", [1, 0])
        self.assertEqual(raised.exception.uri, "anybridge.error.exception")
        self.assertNotIn("division", str(raised.exception))
        with self.assertRaises(NoSuchProcedure):
            call("com.shop.unknown")

    def test_async_call(self):
        self.assertEqual(asyncio.run(acall("com.shop.add2", [1, 2])), 3)

    def test_secrets_of_our_own_sign_the_callbacks(self):
        secret = derive_key("anything")
        with override_settings(ANYBRIDGE={**settings.ANYBRIDGE, "SECRETS": [secret]}):
            command("anybridge_sync")
            self.assertEqual(call("com.shop.add2", [1, 2]), 3)
        with self.assertRaises(Unavailable):  # the app has forgotten the secret
            call("com.shop.add2", [1, 2])

    def test_events(self):
        publish("com.shop.order.new", ["tea"])
        eventually(lambda: bridge.events)
        self.assertEqual(bridge.events, [("com.shop.order.new", "tea")])

    def test_event_that_fails_comes_again(self):
        bridge.failures = 1
        publish("com.shop.flaky", ["again"])
        eventually(lambda: bridge.events)
        self.assertEqual(bridge.events, [("flaky", "again")])
        self.assertEqual(Order.objects.filter(name="again").count(), 1)

    def test_gone_unsubscribes(self):
        def topics():
            return {s["topic"] for s in get_client().subscriptions()}

        self.assertIn("com.shop.closed", topics())
        publish("com.shop.closed")
        eventually(lambda: "com.shop.closed" not in topics())

    def test_same_key_publishes_once(self):
        for _ in range(2):
            publish("com.shop.order", ["tea"], key="order-1")
        publish("com.shop.order", ["last"])
        eventually(lambda: ("com.shop.order", "last") in bridge.events)
        self.assertEqual(bridge.events.count(("com.shop.order", "tea")), 1)

    def test_call_later(self):
        id = call_later("com.shop.divide", [1, 4])
        eventually(lambda: bridge.outcomes)
        self.assertEqual(bridge.outcomes, [(id, "com.shop.divide", 0.25)])
        failed = call_later("com.shop.stock", ["cake"])
        eventually(lambda: len(bridge.outcomes) == 2)
        self.assertEqual(
            bridge.outcomes[1], (failed, "com.shop.stock", "com.shop.error.unknown: cake")
        )
        self.assertEqual(call_later("com.shop.divide", [1, 4], key=id), id)  # not again
        call_later("com.shop.add2", [1, 2])
        eventually(lambda: len(bridge.outcomes) == 3)
        self.assertEqual(bridge.outcomes[2][1:], ("com.shop.add2", 3))

    def test_call_for_a_user(self):
        alice = User.objects.create_user("alice")
        self.assertEqual(call("com.shop.who", user=alice), ["alice", "shop"])
        self.assertEqual(call("com.shop.who", user="alice"), ["alice", "shop"])
        self.assertEqual(call("com.shop.who", user=AnonymousUser()), ["", "shop"])
        self.assertEqual(call_result("com.shop.who", user=alice).args, [["alice", "shop"]])
        self.assertIn("alice", command("anybridge_call", "com.shop.who", "--user", "alice"))
        with (
            override_settings(
                ANYBRIDGE={**settings.ANYBRIDGE, "TOKEN": realbridge.COMPONENT_TOKEN}
            ),
            self.assertRaises(AuthError),  # that token has no users: true
        ):
            call("com.shop.who", user=alice)

    def test_two_keys_while_a_token_is_replaced(self):
        former, new = "the-former-token-0123456789", "the-new-token-0123456789"
        admin = f'  admin: {{token: "{realbridge.TOKEN}", allow: [admin]}}\n'
        lines = '  shop: {{{}, allow: ["*"]}}\n'.format
        real = realbridge.RealBridge(admin + lines(f'token: "{former}"'))
        self.addCleanup(real.stop)

        def app(**values):
            return override_settings(ANYBRIDGE={**settings.ANYBRIDGE, "URL": real.url, **values})

        def reload(what):
            real.reload(admin + lines(what), admin=realbridge.TOKEN)

        with app(TOKEN=former):
            command("anybridge_sync")
            self.assertEqual(call("com.shop.add2", [1, 2]), 3)
        reload(f'token: "{new}", previous: "{former}"')
        with app(TOKEN=former):  # the app that has not been told yet
            self.assertEqual(call("com.shop.add2", [1, 2]), 3)
        with app(TOKEN=new, PREVIOUS_TOKEN=former):
            # What the former token has registered is signed with its key alone.
            self.assertEqual(call("com.shop.add2", [1, 2]), 3)
            command("anybridge_sync")
            self.assertEqual(call("com.shop.add2", [1, 2]), 3)
        with app(TOKEN=former):  # a process that is still of the former release
            self.assertEqual(call("com.shop.add2", [1, 2]), 3)
        with app(TOKEN=new):
            self.assertEqual(call("com.shop.add2", [1, 2]), 3)
            reload(f'token: "{new}"')
            command("anybridge_sync")
            self.assertEqual(call("com.shop.add2", [1, 2]), 3)
        with app(TOKEN=former), self.assertRaises(AuthError):
            call("com.shop.add2", [1, 2])

    def test_first_description(self):
        self.assertEqual(Client().get("/ordinary/").json(), {"result": "function of arg1"})
        eventually(lambda: views.received)
        self.assertEqual(views.received, ["arg1"])

    def test_commands(self):
        listed = command("anybridge_list")
        self.assertIn("rpc  com.shop.add2  exact  shop.bridge.add2", listed)
        self.assertIn("sub  com.shop.order  prefix  shop.bridge.on_order", listed)
        called = command("anybridge_call", "com.shop.add2", "a=1", "b=2")
        self.assertEqual(called, '{"args": [3], "kwargs": {}}\n')
        command("anybridge_publish", "com.shop.order", "plain text")
        eventually(lambda: ("com.shop.order", "plain text") in bridge.events)
        with self.assertRaises(CommandError):
            command("anybridge_call", "com.shop.unknown")

    def test_sync_prunes_only_what_is_ours(self):
        client = get_client()
        old = self.live_server_url + "/wamp/?h=0123456789abcdef"
        client.register({"com.old": old, "com.foreign": "http://127.0.0.1:9/"})
        client.subscribe({"com.shop.order": {"url": old}, "com.old": {"url": old}})

        def held():
            return {(s["topic"], s["match"]) for s in client.subscriptions()}

        before = held()
        self.assertIn(
            "would unregister com.old\n", command("anybridge_sync", "--dry-run", "--prune")
        )
        self.assertEqual(held(), before)
        out = command("anybridge_sync", "--prune")
        self.assertIn("unregister com.old\n", out)
        self.assertNotIn("com.foreign", out)
        procedures = {r["procedure"] for r in client.registrations()}
        self.assertIn("com.foreign", procedures)
        self.assertNotIn("com.old", procedures)
        self.assertIn(("com.shop.order", "prefix"), held())
        self.assertFalse({("com.old", "exact"), ("com.shop.order", "exact")} & held())

    def test_runserver_registers_by_itself(self):
        self.forget()
        port = realbridge.free_port()
        here = Path(__file__).parent
        with tempfile.TemporaryDirectory() as folder:
            environ = {
                **os.environ,
                "TEST_DEBUG": "1",
                "TEST_BRIDGE": self.real.url,
                "TEST_TOKEN": realbridge.TOKEN,
                "TEST_CALLBACK_URL": f"http://127.0.0.1:{port}/wamp/",
                "TEST_DATABASE": str(Path(folder, "db")),
                "PYTHONPATH": os.pathsep.join([str(here), *sys.path]),
            }
            server = subprocess.Popen(
                [sys.executable, "-m", "django", "runserver", f"127.0.0.1:{port}"],
                env=environ,
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                eventually(lambda: self.serves(port))
                eventually(get_client().registrations)
                self.assertEqual(call("com.shop.add2", [1, 2]), 3)
            finally:
                realbridge.end_group(server)

    @staticmethod
    def serves(port):
        try:
            urlopen(f"http://127.0.0.1:{port}/nothing", timeout=1).close()
        except OSError as error:
            return getattr(error, "code", None)  # 404 is an answer
        return True


class StartTest(unittest.TestCase):
    def test_importing_everything_starts_no_thread_and_opens_no_socket(self):
        program = (
            "import sys, threading\n"
            "import urllib3\n"  # binds a socket and closes it, to learn whether there is IPv6
            "watched, seen = ('socket.connect', 'socket.bind', '_thread.start_new_thread'), []\n"
            "sys.addaudithook(lambda event, _: event in watched and seen.append(event))\n"
            "import django\n"
            "django.setup()\n"
            "import project.urls\n"
            "from anybridge_django import get_client, registry\n"
            "get_client()\n"
            "assert 'com.shop.add2' in registry.procedures\n"
            "assert not seen, seen\n"
            "assert threading.active_count() == 1\n"
        )
        environ = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "TEST_BRIDGE": "http://127.0.0.1:9/",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        }
        done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
