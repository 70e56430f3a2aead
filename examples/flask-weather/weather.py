"""A weather service: a Flask app that is part of a network of WAMP components."""

import os

from anybridge_flask import AnyBridge, ApplicationError, BridgeError
from flask import Flask

bridge = AnyBridge()
latest: dict[str, float] = {}


@bridge.rpc("com.weather.report")
def report(city):
    """Anybody on the network can call this."""
    if city not in latest:
        raise ApplicationError("com.weather.error.unknown_city", [city])
    return {"city": city, "celsius": latest[city]}


@bridge.sub("com.weather.measured")
def measured(city, celsius):
    """A weather station, wherever it is, has published what it measured."""
    latest[city] = celsius


def create_app():
    app = Flask(__name__)
    app.config["ANYBRIDGE"] = {
        "URL": os.environ.get("ANYBRIDGE_URL", "http://127.0.0.1:8181/"),
        "TOKEN": os.environ.get("ANYBRIDGE_TOKEN"),
        "CALLBACK_URL": os.environ.get("ANYBRIDGE_CALLBACK_URL", "http://127.0.0.1:5000/wamp/"),
        "TIMEOUT": 2,
    }
    bridge.init_app(app)

    @app.get("/<city>/")
    def page(city):
        """An ordinary page: it publishes, and calls a procedure of another program."""
        celsius = latest.get(city)
        told = {"city": city, "celsius": celsius}
        try:
            bridge.publish("com.weather.asked", [city])
            told["fahrenheit"] = bridge.call("com.weather.fahrenheit", [celsius])
        except BridgeError as error:
            told["note"] = str(error)  # the page can do without
        return told

    return app
