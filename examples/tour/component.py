"""A WAMP component for the README's tour: it serves a procedure, receives events,
and calls back a procedure that a web app serves over plain HTTP."""

import sys

from autobahn.asyncio.component import Component, run
from autobahn.wamp.exception import ApplicationError

ROUTER = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/ws"
component = Component(transports=ROUTER, realm="realm1")


def say(text):
    print(text, flush=True)


@component.on_join
async def joined(session, _details):
    async def add2(x, y):
        say(f"add2({x}, {y})")
        return x + y

    async def hello(name):
        say(f"event: hello, {name}")
        try:
            greeting = await session.call("com.example.greet", name)
        except ApplicationError as e:
            say(f"nobody serves com.example.greet yet ({e.error})")
            return
        say(f"com.example.greet answered: {greeting}")
        session.publish("com.example.greeted", greeting)

    await session.register(add2, "com.example.add2")
    await session.subscribe(hello, "com.example.hello")
    say("component ready: serves com.example.add2, listens to com.example.hello")


if __name__ == "__main__":
    run([component], log_level="error")
