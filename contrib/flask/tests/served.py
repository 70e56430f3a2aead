"""An app for servers: configured by FLASK_ANYBRIDGE__… in the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from a2wsgi import WSGIMiddleware
from flask import Flask

from anybridge_flask import AnyBridge

bridge = AnyBridge()

app = Flask(__name__)
app.config.from_prefixed_env()
bridge.init_app(app)

with app.app_context():  # in gunicorn's main process, because of --preload
    used_before_fork = isinstance(bridge.client.registrations(), list)
    made_in = os.getpid()

asgi_app = WSGIMiddleware(app)  # type: ignore[arg-type]  # Flask's environ is a plain dict


@bridge.rpc("com.served.pid")
def pid() -> int:
    return os.getpid()


@bridge.rpc("com.served.upper")
def upper(text: str) -> dict[str, Any]:
    return {
        "upper": bridge.call("com.parts.upper", [text]),
        "pid": os.getpid(),
        "made_in": made_in,
        "used_before_fork": used_before_fork,
    }


@bridge.rpc("com.served.async_upper")
async def async_upper(text: str) -> Any:
    return await bridge.acall("com.parts.upper", [text])


@bridge.sub("com.served.event")
def event(text: str) -> None:
    with Path("events").open("a") as file:
        file.write(text + "\n")


@app.get("/alive/")
def alive() -> str:
    return "yes"
