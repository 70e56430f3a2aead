from django.core.checks import run_checks
from django.test import SimpleTestCase, override_settings

from anybridge_django import registry
from anybridge_django.conf import raw


def ids():
    return {m.id for m in run_checks() if (m.id or "").startswith("anybridge.")}


def changed(**values):
    return override_settings(ANYBRIDGE={**raw(), **values})


class CheckTest(SimpleTestCase):
    def test_all_well(self):
        self.assertEqual(ids(), set())

    def test_missing(self):
        with override_settings(ANYBRIDGE={}):
            self.assertEqual(ids(), {"anybridge.E001", "anybridge.E002", "anybridge.E006"})

    def test_misspelt(self):
        with changed(TIMOUT=3):
            self.assertEqual(ids(), {"anybridge.E005"})

    def test_secrets(self):
        with changed(SECRETS=["not a key"]):
            self.assertEqual(ids(), {"anybridge.E007"})

    def test_duplicate(self):
        def another():
            pass

        registry.rpc("com.shop.add2")(another)
        self.addCleanup(registry._clashes.clear)
        self.assertEqual(ids(), {"anybridge.E003"})

    @override_settings(ROOT_URLCONF="shop.no_urls")
    def test_not_routed(self):
        self.assertEqual(ids(), {"anybridge.E004"})

    def test_callback_url_leads_elsewhere(self):
        with changed(CALLBACK_URL="http://localhost:8000/wamp"):
            self.assertEqual(ids(), {"anybridge.W002"})

    def test_plain_http(self):
        with changed(CALLBACK_URL="http://shop.example/wamp/"):
            self.assertEqual(ids(), {"anybridge.W001"})
            with override_settings(DEBUG=True):
                self.assertEqual(ids(), set())
        with changed(CALLBACK_URL="https://shop.example/wamp/"):
            self.assertEqual(ids(), set())
