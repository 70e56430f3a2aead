"""The view that the bridge calls back."""

from __future__ import annotations

import sys
from typing import Any

from flask import Blueprint, Response, current_app, request

from .bound import Bound


def blueprint(bound: Bound) -> Blueprint:
    """A blueprint of one view, which answers callbacks: ``anybridge.dispatcher``."""
    made = Blueprint(bound.bridge.key, __name__)

    def dispatcher() -> Response:
        # The body as it came: it is what was signed. Too large a one is refused with 413.
        reply = bound.dispatcher().dispatch(
            dict(request.headers), request.get_data(), request.query_string.decode("latin-1")
        )
        response = Response(reply.body, reply.status, dict(reply.headers))
        if "Content-Type" not in reply.headers:
            del response.headers["Content-Type"]
        return response

    made.add_url_rule(bound.path, "dispatcher", dispatcher, methods=["POST"], strict_slashes=False)

    @made.url_value_preprocessor
    def exempt(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
        # Flask runs this before all before_request functions. Here it does not matter which
        # extension was there first, as it would in init_app.
        csrf = current_app.extensions.get("csrf")
        flask_wtf = sys.modules.get("flask_wtf.csrf")
        if flask_wtf is not None and isinstance(csrf, flask_wtf.CSRFProtect):
            csrf.exempt(made)

    return made
