"""Registration by itself under ``manage.py runserver``.

The reloader says when its child has loaded the project; a thread registers then, and waits for
a bridge that is not there yet. Nothing of this happens in another command, in a server for
production, with ``--noreload``, or with DEBUG off.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any

from anybridge import BridgeError, Unavailable
from anybridge import Timeout as BridgeTimeout
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.autoreload import autoreload_started

from . import syncing
from .backends import get_client
from .conf import conf

log = logging.getLogger("anybridge_django")

PAUSES = (1, 2, 4, 8, 15, 30)


def on_autoreload_started(**_: Any) -> None:
    """Start the thread, if this is runserver's child and there is something to register."""
    if sys.argv[1:2] == ["runserver"] and settings.DEBUG:
        threading.Thread(target=register, name="anybridge-register", daemon=True).start()


def register() -> None:
    """Register with the bridge; tries again, for ever, while it cannot be reached."""
    attempt = 0
    while True:
        try:
            if not conf().callback_url:
                return  # the checks say so, if there are handlers
            p = syncing.plan()
            p.apply(get_client())
        except (Unavailable, BridgeTimeout) as error:
            pause = PAUSES[min(attempt, len(PAUSES) - 1)]
            attempt += 1
            log.warning("anybridge is not reachable, trying again in %d s: %s", pause, error)
            time.sleep(pause)
        except (BridgeError, ImproperlyConfigured) as error:
            log.error("anybridge refused the registration: %s", error)
            return
        else:
            if p:
                names = ", ".join([*p.register, *p.subscribe])
                log.warning("registered with anybridge: %s", names)
            return


# Here and not in AppConfig.ready: it is imported with the package, which a project may use
# without having it in INSTALLED_APPS.
autoreload_started.connect(on_autoreload_started, dispatch_uid="anybridge_django.runserver")
