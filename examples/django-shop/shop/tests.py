"""The shop without a bridge: ``self.bridge`` stands in for it."""

from anybridge_django import Unavailable
from anybridge_django.testing import BridgeClient, BridgeTestMixin
from django.test import Client, TestCase

from .models import Order, Product

TEA = {"product": "tea", "quantity": 2}


class PageTest(BridgeTestMixin, TestCase):
    def setUp(self):
        super().setUp()
        self.bridge.respond("com.weather.report", {"city": "paris", "celsius": 20.5})
        self.bridge.respond("com.warehouse.price", lambda product, quantity: str(3 * quantity))

    def order(self, data):
        with self.captureOnCommitCallbacks(execute=True):
            return self.client.post("/", data)

    def test_an_order_is_written_down_and_announced(self):
        self.assertRedirects(self.order(TEA), "/")
        order = Order.objects.get()
        self.assertEqual((order.product.name, order.quantity, order.price), ("tea", 2, 6))
        self.assertEqual(order.status, Order.Status.NEW)
        self.assertEqual(Product.objects.get(name="tea").left, 8)
        [event] = self.bridge.outbox
        self.assertEqual(event.topic, "com.shop.ordered")
        self.assertEqual(event.kwargs, {"order": order.pk, "product": "tea", "quantity": 2})
        self.assertContains(self.client.get("/"), "2 × tea")

    def test_what_is_not_left_is_not_sold(self):
        response = self.order({"product": "cocoa", "quantity": 2})
        self.assertContains(response, "There are not so many left.")
        self.assertFalse(Order.objects.exists())
        self.assertEqual(self.bridge.outbox, [])

    def test_without_the_bridge_the_page_is_still_there(self):
        for procedure in ("com.weather.report", "com.warehouse.price"):
            self.bridge.respond(procedure, Unavailable("down"))
        with self.assertLogs("shop.views", "WARNING"):
            self.assertContains(self.client.get("/"), "Nobody knows the weather")
            response = self.order(TEA)
        self.assertContains(response, "Please try again later.", status_code=503)
        self.assertFalse(Order.objects.exists())
        self.assertEqual(self.bridge.outbox, [])

    def test_the_page_tells_the_weather(self):
        self.assertContains(self.client.get("/"), "20.5 °C in Paris")

    def test_a_form_of_another_site_is_refused(self):
        response = Client(enforce_csrf_checks=True).post("/", TEA)
        self.assertEqual(response.status_code, 403)


class HandlersTest(BridgeTestMixin, TestCase):
    """What the bridge sends, signed as it would sign it."""

    def test_stock(self):
        with self.assertLogs("shop.bridge"):
            self.assertEqual(BridgeClient().invoke("com.shop.stock", ["tea"]).json(), 10)
        problem = BridgeClient().invoke("com.shop.stock", ["gold"]).json()
        self.assertEqual(problem["error"], "com.shop.error.unknown_product")
        self.assertEqual(problem["args"], ["gold"])

    def test_shipped(self):
        tea = Product.objects.get(name="tea")
        order, other = (Order.objects.create(product=tea, quantity=1, price=3) for _ in "12")
        for _ in range(2):  # under another id: an event that was sent again is not even seen
            with self.assertLogs("shop.bridge"):
                sent = BridgeClient().deliver("com.warehouse.shipped", kwargs={"order": order.pk})
            self.assertEqual(sent.status_code, 204)
        order.refresh_from_db()
        other.refresh_from_db()
        self.assertEqual((order.status, other.status), ("shipped", "new"))

    def test_what_is_not_signed_is_refused(self):
        with self.assertLogs("anybridge", "WARNING"):
            sent = BridgeClient().deliver("com.warehouse.shipped", [1], token="another-token-0123")
        self.assertEqual(sent.status_code, 401)
