"""What the shop handles for others. anybridge_django finds this module by its name."""

import logging

from anybridge_django import ApplicationError, Context, rpc, sub

from .models import Order, Product

log = logging.getLogger(__name__)


@rpc("com.shop.stock")
def stock(product: str, *, ctx: Context) -> int:
    """How many are left."""
    left = Product.objects.filter(name=product).values_list("left", flat=True).first()
    if left is None:
        raise ApplicationError("com.shop.error.unknown_product", [product])
    log.info("com.shop.stock(%r) = %d, asked by %s", product, left, ctx.authid or "somebody")
    return left


@sub("com.warehouse.shipped")
def shipped(order: int) -> None:
    """An order has left the warehouse. The event can come twice: the second time changes
    nothing. One of an order that is not ours would be no better later, so it is no error."""
    new = Order.objects.filter(pk=order, status=Order.Status.NEW)
    if new.update(status=Order.Status.SHIPPED):
        log.info("com.warehouse.shipped(order=%d), now marked in the database", order)
    else:
        log.warning("com.warehouse.shipped(order=%r): there is no such new order", order)
