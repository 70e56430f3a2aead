"""The tools for unittest; those for pytest are what the other tests use."""

from __future__ import annotations

import unittest

import shop
from anybridge_flask.testing import BridgeTestMixin


class ShopTest(BridgeTestMixin, unittest.TestCase):
    app = shop.create_app()

    def test_page(self) -> None:
        self.bridge.respond("com.parts.upper", str.upper)
        page = self.app.test_client().get("/page/", auth=("a", "b"))
        self.assertEqual(page.json, {"upper": "TEA"})

    def test_nothing_is_left_of_other_tests(self) -> None:
        self.assertEqual(self.bridge.calls, [])
        self.assertEqual(self.bridge_client.invoke("com.shop.add2", [1, 2]).json, 3)
