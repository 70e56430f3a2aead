"""An app that looks at no signature, and keeps what came."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from bridge import PATIENCE


@dataclass(frozen=True)
class Callback:
    """The signed parts of a request, as they came over the wire."""

    id: str
    timestamp: str
    signatures: str
    body: bytes


class Inbox:
    """A web server on a free port. It answers everything with 204."""

    def __init__(self) -> None:
        self._came: queue.Queue[Callback] = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def next(self) -> Callback:
        """The next callback; waits for it."""
        return self._came.get(timeout=PATIENCE)

    def __enter__(self) -> Inbox:
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
        came = self._came

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                id, stamp, signatures = (
                    str(self.headers[f"webhook-{name}"])
                    for name in ("id", "timestamp", "signature")
                )
                came.put(Callback(id, stamp, signatures, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
