"""Python values as the JSON values the bridge carries."""

from __future__ import annotations

import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder


class _Encoder(DjangoJSONEncoder):
    def default(self, o: Any) -> Any:
        if isinstance(o, (set, frozenset)):
            return list(o)
        return super().default(o)


def plain(value: Any) -> Any:
    """Return a copy of value made of JSON types only.

    Dates, decimals, UUIDs and lazy texts become strings, as DjangoJSONEncoder writes them;
    sets and tuples become lists. Raises TypeError for what JSON has no form of (a model
    instance, say) and ValueError for NaN and infinities.
    """
    return json.loads(json.dumps(value, cls=_Encoder, allow_nan=False))
