"""A field with tractors: a WAMP component that tells where they are, and hears of orders."""

import sys

from autobahn.asyncio.component import Component, run

ROUTER = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/ws"
component = Component(transports=ROUTER, realm="realm1")


@component.on_join
async def joined(session, _details):
    def ordered(text):
        print(f"com.app.orders {text}", flush=True)

    await session.subscribe(ordered, "com.app.orders")
    for name, speed in [("blue", 3), ("red", 12)]:
        session.publish("com.app.position", {"name": name, "speed": speed})
        print(f"com.app.position {name} {speed}", flush=True)
    print("field ready", flush=True)


if __name__ == "__main__":
    run([component], log_level="error")
