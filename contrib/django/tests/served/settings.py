"""The site that gunicorn and uvicorn serve: the tests' project, with another app, a database
and a cache that processes share."""

from os import environ

from project.settings import *  # noqa: F403
from project.settings import ANYBRIDGE, DATABASES, INSTALLED_APPS

ROOT_URLCONF = "served.urls"
INSTALLED_APPS = [*(app for app in INSTALLED_APPS if app != "shop"), "served"]
LOGIN_URL = "/login/"
DATABASES = {
    "default": {
        **DATABASES["default"],
        "NAME": environ["TEST_FOLDER"] + "/db",
        "OPTIONS": {"timeout": 30, "init_command": "PRAGMA journal_mode=WAL"},
    }
}
# The handlers' cache must not be rolled back with a transaction of theirs; the dispatcher's has
# to let one process of several claim an event.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": environ["TEST_FOLDER"] + "/cache",
    },
    "events": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "events",
    },
}
ANYBRIDGE = {**ANYBRIDGE, "CACHE": "events"}
