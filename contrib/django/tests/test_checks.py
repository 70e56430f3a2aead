import os
from unittest import mock

from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, override_settings

from anybridge_django import get_client, registry
from anybridge_django.conf import conf, raw


def ids(deploy=False):
    found = run_checks(include_deployment_checks=deploy)
    return {m.id for m in found if (m.id or "").startswith("anybridge.")}


def changed(**values):
    return override_settings(ANYBRIDGE={**raw(), **values})


class CheckTest(SimpleTestCase):
    def test_all_well(self):
        self.assertEqual(ids(), set())

    def test_missing(self):
        with override_settings(ANYBRIDGE={}):
            self.assertEqual(ids(), {"anybridge.E001", "anybridge.E002", "anybridge.E006"})

    def test_places_of_the_description_and_the_environment(self):
        values = {"URL": "http://localhost:8181/", "CALLBACK_URL": "http://localhost:8000/wamp/"}
        own = {f"WAMP_BRIDGE_{name}": value for name, value in values.items()}
        with (
            override_settings(ANYBRIDGE={}, **own),
            mock.patch.dict(os.environ, {"ANYBRIDGE_TOKEN": "a-token", "ANYBRIDGE_URL": "x"}),
        ):
            self.assertEqual(ids(), set())
            self.assertEqual((conf().url, conf().token), (values["URL"], "a-token"))
            with override_settings(ANYBRIDGE={"TOKEN": "of the dict"}):
                self.assertEqual(conf().token, "of the dict")

    def test_wrong_values(self):
        for wrong, id in {
            ("TOKEN", "two words"): "E002",
            ("TOKEN", "a-token\n"): "E002",
            ("TIMEOUT", "soon"): "E008",
            ("TIMEOUT", 0): "E008",
            ("TOLERANCE", float("nan")): "E008",
            ("CACHE", "nowhere"): "E009",
            ("CALLBACK_URL", "localhost:8000/wamp/"): "E010",
        }.items():
            with self.subTest(wrong), changed(**dict([wrong])):
                self.assertIn("anybridge." + id, ids())

    def test_wrong_values_are_not_used(self):
        with (
            changed(TOKEN="two words", BACKEND="anybridge.Client"),
            self.assertRaises(ImproperlyConfigured),
        ):
            get_client()

    def test_cache_of_one_process(self):
        self.assertEqual(ids(deploy=True), {"anybridge.W003"})
        locmem = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
        shared = {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache"}
        with override_settings(CACHES={"default": locmem, "shared": shared}):
            with changed(CACHE="shared"):
                self.assertEqual(ids(deploy=True), set())
            self.assertEqual(ids(deploy=True), {"anybridge.W003"})

    def test_host_that_django_refuses(self):
        with override_settings(ALLOWED_HOSTS=["shop.example"]):
            self.assertEqual(ids(), {"anybridge.W004"})
        with override_settings(ALLOWED_HOSTS=[]):
            self.assertEqual(ids(), {"anybridge.W004"})
            with override_settings(DEBUG=True):
                self.assertEqual(ids(), set())

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
