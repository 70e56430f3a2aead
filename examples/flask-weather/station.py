"""A weather station, which knows nothing of HTTP: a WAMP component with Autobahn|Python."""

import sys

from autobahn.asyncio.component import Component, run

ROUTER = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/ws"
component = Component(transports=ROUTER, realm="realm1")


def say(text):
    print(text, flush=True)


@component.on_join
async def joined(session, _details):
    async def fahrenheit(celsius):
        return None if celsius is None else celsius * 9 / 5 + 32

    async def asked(city):
        say(f"somebody asked for {city}")
        if city == "paris":
            session.publish("com.weather.measured", city, 21.5)
        report = await session.call("com.weather.report", "paris")
        say(f"the app reports {report}")

    await session.register(fahrenheit, "com.weather.fahrenheit")
    await session.subscribe(asked, "com.weather.asked")
    session.publish("com.weather.measured", "paris", 20.0)
    say("station ready")


if __name__ == "__main__":
    run([component], log_level="error")
