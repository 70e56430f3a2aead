"""What the Python packages cost, against the least that somebody would write by hand.

Run as ``python bench/python/overhead.py`` in the environment of ``scripts/contrib setup``; it
prints a Markdown table. Contenders take turns in one run.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import urllib3
from anybridge import Client
from anybridge.testing import signed_request

import project
import servers
import turns
from bridge import TOKEN
from lean import Post

Row = tuple[str, str, str, str]


def views(rounds: int, seconds: float) -> list[Row]:
    """The dispatcher against a bare view, behind the usual servers."""
    rows = []
    for server, kind, procedure, bare in (
        ("gunicorn", "sync worker, plain handler", "com.example.add2", "/bare/"),
        ("gunicorn", "sync worker, async handler", "com.example.async_add2", "/async_bare/"),
        ("uvicorn", "plain handler", "com.example.add2", "/bare/"),
        ("uvicorn", "async handler", "com.example.async_add2", "/async_bare/"),
    ):
        headers, body = signed_request("invocation", procedure, [20, 22], token=project.TOKEN)
        with servers.serving(server) as port:
            contenders = {
                path: Post(port, path, headers, body, b"\r\n\r\n42") for path in ("/wamp/", bare)
            }
            found = turns.rates(contenders, rounds, seconds)
        ours, theirs = found["/wamp/"], found[bare]
        rows.append(
            (
                f"{server}, {kind}",
                f"{statistics.median(ours):,.0f}/s",
                f"{statistics.median(theirs):,.0f}/s",
                f"{turns.ratio(ours, theirs):.2f}× the rate",
            )
        )
    return rows


def in_process(rounds: int, each: int) -> list[Row]:
    """The same without a server: what a request takes in Django's handler."""
    headers, body = signed_request("invocation", "com.example.add2", [20, 22], token=project.TOKEN)
    fields = {f"HTTP_{n.upper().replace('-', '_')}": v for n, v in headers.items()}

    def request(path: str) -> None:
        environ: dict[str, Any] = {
            **fields,
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
        }
        response = project.wsgi(environ, lambda status, headers: None)
        assert b"".join(response) == b"42"
        response.close()

    contenders = {"ours": lambda: request("/wamp/"), "bare": lambda: request("/bare/")}
    found = turns.latencies(contenders, rounds, each)
    ours, bare = (statistics.median(found[name]) for name in contenders)
    return [
        (
            "in Django's handler, no server",
            f"{ours * 1e6:,.0f} µs",
            f"{bare * 1e6:,.0f} µs",
            f"{(ours - bare) * 1e6:+,.0f} µs",
        )
    ]


def client(rounds: int, each: int) -> list[Row]:
    """``Client`` against urllib3 with the same requests, to one bridge."""
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.bridge(Path(folder)) as bridge,
        servers.serving("callee") as port,
        Client(bridge.url, TOKEN) as ours,
    ):
        ours.register({"com.example.null": f"http://127.0.0.1:{port}/"})
        pool = urllib3.PoolManager()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}

        def post(path: str, fields: dict[str, Any], **more: str) -> Any:
            body = json.dumps({"args": [20, 22], **fields})
            url = bridge.url + path
            response = pool.request("POST", url, body=body, headers={**headers, **more})
            assert response.status == 200, response.data
            return response.json()

        def publish() -> None:
            post("/publish/com.example.t/", {}, **{"Idempotency-Key": uuid.uuid4().hex})

        pairs = {
            "call": (
                lambda: ours.call("com.example.null", [20, 22]),
                lambda: post("/call/com.example.null/", {"timeout": 30.0}),
            ),
            "publish": (lambda: ours.publish("com.example.t", [20, 22]), publish),
        }
        for name, (mine, bare) in pairs.items():
            found = turns.latencies({"ours": mine, "bare": bare}, rounds, each)
            middle = {who: statistics.median(found[who]) * 1e6 for who in found}
            rare = {who: statistics.quantiles(found[who], n=100)[98] * 1e6 for who in found}
            rows.append(
                (
                    f"`Client.{name}`, median (p99)",
                    f"{middle['ours']:,.0f} µs ({rare['ours']:,.0f})",
                    f"{middle['bare']:,.0f} µs ({rare['bare']:,.0f})",
                    f"{middle['ours'] - middle['bare']:+,.0f} µs",
                )
            )
    return rows


def machine() -> str:
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{os.cpu_count()} × {model}; Python {platform.python_version()}; load before: {load}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a round behind a server")
    parser.add_argument("--each", type=int, default=200, help="operations of a round otherwise")
    options = parser.parse_args()
    print(f"{machine()}\n", flush=True)
    rows = [
        *views(options.rounds, options.seconds),
        *in_process(options.rounds, options.each),
        *client(options.rounds, options.each),
    ]
    print("| | anybridge | by hand | |\n|---|--:|--:|--:|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
