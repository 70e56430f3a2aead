"""A WAMP component, written with Autobahn|Python, that does what the tests ask it for.

It knows nothing of HTTP. Its one argument is the router's address. It ends when its standard
input does: with the test that has started it, however that ends.
"""

import os
import sys
import threading

from autobahn.asyncio.component import Component, run
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallDetails, EventDetails, PublishOptions, RegisterOptions
from autobahn.wamp.types import SubscribeOptions as Options

# Only JSON: what else Autobahn can speak depends on what is installed.
transport = {"type": "websocket", "url": sys.argv[1], "serializers": ["json"]}
component = Component(transports=[transport], realm="realm1")
heard: dict[str | None, list[list[object]]] = {}


def add(a, b):
    return a + b


def function(value):
    return f"function of {value}"


def who(details: CallDetails):
    return {"authid": details.caller_authid, "authrole": details.caller_authrole}


def guarded(details: CallDetails):
    """For the app with the token "shop" alone."""
    if (details.caller_authid, details.caller_authrole) != ("shop", "token"):
        raise ApplicationError("com.component.error.forbidden")
    return "come in"


def on_event(*args, details: EventDetails):
    heard.setdefault(details.topic, []).append(list(args))


@component.on_join
async def joined(session, _details):
    async def call(procedure, args, kwargs):
        try:
            return ["result", await session.call(procedure, *args, **kwargs)]
        except ApplicationError as error:
            return ["error", error.error, list(error.args)]

    async def publish(topic, args):
        await session.publish(topic, *args, options=PublishOptions(acknowledge=True))

    detailed = RegisterOptions(details_arg="details")
    await session.register(add, "com.component.add")
    await session.register(function, "function")
    await session.register(who, "com.component.who", options=detailed)
    await session.register(guarded, "com.component.guarded", options=detailed)
    await session.register(call, "com.component.call")
    await session.register(publish, "com.component.publish")
    await session.register(lambda topic: heard.get(topic, []), "com.component.heard")
    await session.subscribe(on_event, "sujet", options=Options(details=True))
    await session.subscribe(
        on_event, "com.published", options=Options(match="prefix", details=True)
    )
    await session.register(lambda: True, "com.component.ready")


def end_with_the_test():
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_the_test, daemon=True).start()
    run([component], log_level="error")
