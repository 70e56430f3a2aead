"""A WAMP component with Autobahn|Python: the other side of the network.

Tests drive it through the bridge: ``com.parts.ask`` has it call a procedure and tell what it
got, ``com.parts.tell`` has it publish, ``com.parts.heard`` tells which events it received.
"""

import sys

from autobahn.asyncio.component import Component, run
from autobahn.wamp.exception import ApplicationError

# Only JSON: what else Autobahn can speak depends on what is installed.
transport = {"type": "websocket", "url": sys.argv[1], "serializers": ["json"]}
component = Component(transports=[transport], realm="realm1")


@component.on_join
async def joined(session, _details):
    heard = []

    def upper(text):
        return text.upper()

    async def ask(procedure, args):
        try:
            return {"value": await session.call(procedure, *args)}
        except ApplicationError as error:
            return {"error": error.error, "args": list(error.args), "kwargs": error.kwargs}

    def tell(topic, args):
        session.publish(topic, *args)

    await session.register(upper, "com.parts.upper")
    await session.register(ask, "com.parts.ask")
    await session.register(tell, "com.parts.tell")
    await session.register(lambda: heard, "com.parts.heard")
    await session.subscribe(lambda *args: heard.append(list(args)), "com.parts.news")
    print("component ready", flush=True)


if __name__ == "__main__":
    run([component], log_level="error")
