"""The warehouse: a WAMP component, written with Autobahn|Python, that knows nothing of HTTP.

It serves com.warehouse.price. When it hears com.shop.ordered, it asks the shop how many are
left with com.shop.stock, and publishes com.warehouse.shipped. For the component these are
WAMP messages like all others; behind the bridge they are HTTP requests.

It prints what reaches it. Needs WAREHOUSE_TICKET; WAMP_URL says where the router is.
"""

import os
from decimal import Decimal

from autobahn.asyncio.component import Component, run
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import PublishOptions

PRICES = {"tea": Decimal("3.20"), "coffee": Decimal("4.50"), "cocoa": Decimal("3.90")}
ENOUGH = 3

component = Component(
    transports=os.environ.get("WAMP_URL", "ws://127.0.0.1:8080/ws"),
    realm="realm1",
    authentication={
        "ticket": {"authid": "warehouse", "ticket": os.environ["WAREHOUSE_TICKET"]},
    },
)


def say(text):
    print(text, flush=True)


def price(product, quantity):
    """What it costs in all, as text: JSON has no decimal numbers."""
    if product not in PRICES:
        raise ApplicationError("com.warehouse.error.unknown_product", product)
    total = PRICES[product] * quantity
    say(f"com.warehouse.price({product!r}, {quantity}) = {total}")
    return str(total)


@component.on_join
async def joined(session, _details):
    async def ordered(order, product, quantity):
        say(f"com.shop.ordered(order={order}, product={product!r}, quantity={quantity})")
        try:
            left = await session.call("com.shop.stock", product)
        except ApplicationError as error:
            say(f"com.shop.stock failed: {error}")
        else:
            if left < ENOUGH:
                say(f"time to fetch more {product}: the shop has {left} left")
        await session.publish(
            "com.warehouse.shipped", order=order, options=PublishOptions(acknowledge=True)
        )

    await session.register(price, "com.warehouse.price")
    await session.subscribe(ordered, "com.shop.ordered")
    say("the warehouse is open")


if __name__ == "__main__":
    run([component], log_level="error")
