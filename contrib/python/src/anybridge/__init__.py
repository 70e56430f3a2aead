"""Call, publish, register and subscribe through an anybridge.

``Client`` speaks to the bridge; ``Registry`` and ``anybridge.dispatch.Dispatcher`` take
what the bridge sends to an app; ``anybridge.testing`` stands in for a bridge.
"""

from .client import Client
from .context import Context
from .errors import (
    ApplicationError,
    AuthError,
    BridgeError,
    Gone,
    InvalidRequest,
    Later,
    NoSuchProcedure,
    RemoteError,
    Timeout,
    Unavailable,
)
from .registry import Registry
from .result import Result
from .version import __version__

__all__ = [
    "ApplicationError",
    "AuthError",
    "BridgeError",
    "Client",
    "Context",
    "Gone",
    "InvalidRequest",
    "Later",
    "NoSuchProcedure",
    "Registry",
    "RemoteError",
    "Result",
    "Timeout",
    "Unavailable",
    "__version__",
]
