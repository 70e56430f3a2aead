"""An app that a bridge can call back: the least that a web framework has to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from bridge import PATIENCE, TOKEN

from anybridge import BridgeError, Context, Registry, Result
from anybridge.dispatch import Dispatcher
from anybridge.reply import Reply
from anybridge.signing import derive_key


class App:
    """A web server on a free port that hands every request to a ``Dispatcher``."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.replies: list[Reply] = []
        self.results: list[tuple[Context, Result | BridgeError]] = []
        self.dispatcher = Dispatcher(
            self.registry,
            lambda: [derive_key(TOKEN)],
            debug=lambda: True,
            on_result=lambda ctx, outcome: self.results.append((ctx, outcome)),
        )
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_port}/bridge/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def endpoints(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.registry.endpoints(self.url)

    def __enter__(self) -> App:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        app = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                query = urlsplit(self.path).query
                reply = app.dispatcher.dispatch(dict(self.headers), body, query)
                app.replies.append(reply)
                with suppress(ConnectionError):  # the bridge may have given up
                    self.answer(reply)

            def answer(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def eventually(check: Callable[[], bool], what: str) -> None:
    """Waits until it is true."""
    end = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.01)
