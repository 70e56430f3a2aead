"""The site that gunicorn and uvicorn serve: the tests' project, with another app, a database
and a cache that processes share."""

from os import environ

from project.settings import *  # noqa: F403
from project.settings import DATABASES, INSTALLED_APPS

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
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "cache",
    }
}
