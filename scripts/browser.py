"""A browser for the demo: cookies, and forms that are filled in and sent."""

from __future__ import annotations

import urllib.request
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode

from programs import Failure


class Browser:
    """Shows one site to one visitor."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(CookieJar()), urllib.request.ProxyHandler({})
        )

    def get(self) -> str:
        """The page's text. Raises ``Failure`` for one that is an error."""
        return self._open(None)

    def submit(self, page: str, **fields: str) -> str:
        """Sends the form of ``page`` with these fields, and returns the page after it."""
        return self._open(urlencode({**hidden_fields(page), **fields}).encode())

    def _open(self, data: bytes | None) -> str:
        try:
            with self._opener.open(self._url, data, timeout=60) as response:
                return str(response.read().decode())
        except HTTPError as error:
            raise Failure(f"the site answered {error.code}:\n{error.read().decode()}") from error
        except OSError as error:
            raise Failure(f"the site cannot be reached: {error}") from error


def hidden_fields(page: str) -> dict[str, str]:
    """The hidden fields of a page's form, among them Django's CSRF token."""
    found: dict[str, str] = {}

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            given = dict(attrs)
            if tag == "input" and given.get("type") == "hidden" and given.get("name"):
                found[str(given["name"])] = given.get("value") or ""

    Parser().feed(page)
    return found
