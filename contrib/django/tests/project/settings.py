"""The tests' project: everything on that breaks a callback view."""

from os import environ
from pathlib import Path

DEBUG = environ.get("TEST_DEBUG") == "1"
SECRET_KEY = "tests"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "project.urls"
USE_TZ = True
STATIC_URL = "static/"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "anybridge_django",
    "shop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": environ.get("TEST_DATABASE", ":memory:"),
        "ATOMIC_REQUESTS": True,
    },
    "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "ATOMIC_REQUESTS": True},
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
BASE_DIR = Path(__file__).parent
ANYBRIDGE = {
    "URL": environ.get("TEST_BRIDGE", "http://127.0.0.1:9/"),
    "TOKEN": environ.get("TEST_TOKEN", "the-token-of-the-shop-0123456789"),
    "CALLBACK_URL": environ.get("TEST_CALLBACK_URL", "http://localhost:8000/wamp/"),
    "TIMEOUT": 5,
}
if not environ.get("TEST_BRIDGE"):
    ANYBRIDGE["BACKEND"] = "anybridge_django.local.LocalBackend"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"anybridge_django": {"handlers": ["console"], "level": "CRITICAL"}},
}
if DEBUG:
    LOGGING["loggers"] = {"anybridge_django": {"handlers": ["console"], "level": "INFO"}}
