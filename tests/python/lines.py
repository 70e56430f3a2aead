"""What every program here shares: its settings, and lines of JSON for the test."""

import json
import sys

_OUT = sys.stdout  # before a logger puts itself in its place


def settings():
    """The first argument, a JSON object: url, realm and whatever else the test wants."""
    return json.loads(sys.argv[1])


def tell(what, **more):
    """Write one line for the test."""
    _OUT.write(json.dumps({"on": what, **more}) + "\n")
    _OUT.flush()
