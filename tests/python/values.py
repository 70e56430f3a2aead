"""Values on the way between a test, written in Go, and a WAMP library.

Lines of JSON cannot carry everything a serialiser can, so two kinds of value are
written as tags: {"$bytes": "00ff"} and {"$int": "18446744073709551615"}.
"""

import json


def untag(value):
    """Turn what a test sent into what the library is to send."""
    if isinstance(value, list):
        return [untag(item) for item in value]
    if isinstance(value, dict):
        if list(value) == ["$bytes"]:
            return bytes.fromhex(value["$bytes"])
        if list(value) == ["$int"]:
            return int(value["$int"])
        return {key: untag(item) for key, item in value.items()}
    return value


def tag(value):
    """Turn what the library received into what a line of JSON can carry."""
    if isinstance(value, (list, tuple)):
        return [tag(item) for item in value]
    if isinstance(value, dict):
        return {key: tag(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    return value


def describe(value):
    """Write down what the library really received, type by type.

    All client programs write the same text for the same value, so a test sees
    whether a number lost digits or bytes became a string.
    """
    if isinstance(value, bytes):
        return "bytes(" + value.hex() + ")"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(describe(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(json.dumps(k) + ":" + describe(v) for k, v in value.items()) + "}"
    return json.dumps(value)
