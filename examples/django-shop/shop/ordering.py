"""Placing an order: what the page does, without the page."""

from decimal import Decimal

from anybridge_django import call, publish
from django.db import transaction
from django.db.models import F

from .models import Order, Product


class SoldOut(Exception):
    """There is less left than was ordered."""


def place(product: Product, quantity: int) -> Order:
    """Asks the warehouse for the price, and writes the order down.

    Raises ``SoldOut``, and ``BridgeError`` if there is no price to be had: then nothing was
    written. The warehouse is told of the order after the commit, and only if there is one.
    """
    # Before the transaction: one that waits for the network keeps others waiting.
    price = Decimal(call("com.warehouse.price", [product.name, quantity]))
    with transaction.atomic():
        enough = Product.objects.filter(pk=product.pk, left__gte=quantity)
        if not enough.update(left=F("left") - quantity):
            raise SoldOut
        order = Order.objects.create(product=product, quantity=quantity, price=price)
        publish(
            "com.shop.ordered",
            kwargs={"order": order.pk, "product": product.name, "quantity": quantity},
        )
    return order
