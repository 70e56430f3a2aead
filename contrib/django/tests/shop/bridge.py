import asyncio
import threading

from django.db import connection

from anybridge_django import (
    ApplicationError,
    Context,
    Gone,
    Result,
    on_result,
    rpc,
    sub,
    user_of,
)
from shop.models import Order

events = []
outcomes = []
failures = 0


@rpc
def plain(value):
    return value


@rpc("com.shop.add2", timeout=5)
def add2(a, b):
    return a + b


@rpc("com.shop.later")
async def later(value):
    await asyncio.sleep(0)
    return [value, "async"]


@rpc("com.shop.where")
def where():
    return {"thread": threading.current_thread().name, "atomic": connection.in_atomic_block}


@rpc("com.shop.divide")
def divide(a, b):
    return a / b


@rpc("com.shop.stock")
def stock(name, *, ctx: Context):
    if name != "tea":
        raise ApplicationError("com.shop.error.unknown", [name], {"procedure": ctx.name})
    return Result(["tea"], {"left": 3})


@rpc("com.shop.nothing")
def nothing():
    pass


@rpc("com.shop.who")
def who(*, ctx: Context):
    return [user_of(ctx).get_username(), ctx.token]


@on_result("com.shop.divide")
def divided(ctx, outcome):
    note(ctx, outcome)


@on_result
async def other_outcome(ctx, outcome):
    await asyncio.sleep(0)
    note(ctx, outcome)


def note(ctx, outcome):
    global failures
    if failures:
        failures -= 1
        raise RuntimeError("not yet")
    told = outcome.value if isinstance(outcome, Result) else str(outcome)
    outcomes.append((ctx.message_id, ctx.name, told))


@sub("com.shop.order", match="prefix")
def on_order(order, *, ctx: Context, **rest):
    events.append((ctx.name, order))


@sub("com.shop.flaky", retry=[0.1, 0.1, 1, 5])
def flaky(name):
    global failures
    Order.objects.create(name=name)
    if failures:
        failures -= 1
        raise RuntimeError("not yet")
    events.append(("flaky", name))


@sub("com.shop.async")
async def on_async(value):
    await asyncio.sleep(0)
    events.append(("async", value))


@sub("com.shop.closed")
def closed():
    raise Gone
