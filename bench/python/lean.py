"""A POST that costs its sender as little as Python can."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping


class Post:
    """The same request each time, on a connection for each thread. Where the server closes
    it after the answer, as gunicorn's sync worker does, there is a new one for each."""

    def __init__(
        self, port: int, path: str, headers: Mapping[str, str], body: bytes, wanted: bytes
    ) -> None:
        fields = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **headers}
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self._request = "\r\n".join([*lines, "", ""]).encode() + body
        self._address = ("127.0.0.1", port)
        self._wanted = wanted
        self._own = threading.local()

    def __call__(self) -> None:
        """Raises ``AssertionError`` for an answer that is not 200 and ``wanted``."""
        kept: socket.socket | None = getattr(self._own, "socket", None)
        connection = kept or socket.create_connection(self._address)
        connection.sendall(self._request)
        answer = b""
        while not answer.endswith(self._wanted):
            part = connection.recv(65536)
            assert part, answer
            answer += part
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert head.startswith(b"http/1.1 200 "), answer
        if b"connection: close" in head:
            connection.close()
            self._own.socket = None
        else:
            self._own.socket = connection
