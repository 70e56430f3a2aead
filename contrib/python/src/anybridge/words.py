"""Arguments on a command line: JSON, or else the text itself."""

from __future__ import annotations

import json
from typing import Any


def value(text: str) -> Any:
    """What the JSON text says; a text that is no JSON stands for itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def split(words: list[str]) -> tuple[list[Any], dict[str, Any]]:
    """``args`` and ``kwargs`` of words like ``1``, ``"a text"`` and ``name=[1, 2]``."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        name, equals, rest = word.partition("=")
        if equals and name.isidentifier():
            kwargs[name] = value(rest)
        else:
            args.append(value(word))
    return args, kwargs
