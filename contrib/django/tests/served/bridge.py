import asyncio
import os
import time

from asgiref.sync import sync_to_async
from django.core.cache import cache

from anybridge_django import Gone, RemoteError, auser_of, on_result, rpc, sub, user_of

from .models import Happened

SOON = [0.1, 0.1, 1, 1, 5, 5]


@rpc("com.served.add2")
def add2(a, b):
    return a + b


@rpc("com.served.later")
async def later(value):
    await asyncio.sleep(0.01)
    return [value, "async"]


@rpc("com.served.pid")
def pid():
    time.sleep(0.2)  # the other worker takes the next one
    return os.getpid()


@rpc("com.served.fails")
def fails():
    Happened.objects.create(what="fails")
    raise RuntimeError("a secret of ours")


@rpc("com.served.fails_async")
async def fails_async():
    raise RuntimeError("a secret of ours")


@rpc("com.served.who")
def who(*, ctx):
    return [user_of(ctx).get_username(), ctx.token]


@rpc("com.served.who_async")
async def who_async(*, ctx):
    return [(await auser_of(ctx)).get_username(), ctx.token]


@sub("com.served.event")
def event(value):
    Happened.objects.create(what="event", value=value)


@sub("com.served.event_async")
async def event_async(value):
    await asyncio.sleep(0.01)
    await Happened.objects.acreate(what="event_async", value=value)


@sub("com.served.flaky", retry=SOON)
def flaky(value):
    Happened.objects.create(what="flaky", value=value)  # rolled back with the first attempt
    if cache.add(f"flaky {value}", 1):
        raise RuntimeError("not yet")


@sub("com.served.flaky_async", retry=SOON)
async def flaky_async(value):
    if await sync_to_async(cache.add)(f"flaky_async {value}", 1):
        raise RuntimeError("not yet")
    await Happened.objects.acreate(what="flaky_async", value=value)


@sub("com.served.closed")
def closed():
    raise Gone


@on_result("com.component.add")
def added(ctx, outcome):
    Happened.objects.create(what="outcome", value=[ctx.message_id, outcome.value])


@on_result
async def others(ctx, outcome):
    told = outcome.uri if isinstance(outcome, RemoteError) else type(outcome).__name__
    await Happened.objects.acreate(what="outcome", value=[ctx.message_id, told])
