"""A Django project with the middleware of ``startproject``, a bare view and the dispatcher.

The bare view is what somebody writes without a library: JSON in, JSON out, no signature.
"""

from __future__ import annotations

import json

import django
from django.conf import settings

TOKEN = "the-token-of-the-measurement"

settings.configure(
    SECRET_KEY="measurement",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "anybridge_django",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    ANYBRIDGE={
        "URL": "http://127.0.0.1:8181/",
        "TOKEN": TOKEN,
        "CALLBACK_URL": "http://127.0.0.1:8000/wamp/",
        "TOLERANCE": 24 * 3600,  # one signature serves the whole measurement
    },
)
django.setup()

from anybridge_django import rpc  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


@rpc("com.example.add2")
def add2(a: int, b: int) -> int:
    return a + b


@rpc("com.example.async_add2")
async def async_add2(a: int, b: int) -> int:
    return a + b


@csrf_exempt
def bare(request: HttpRequest) -> JsonResponse:
    return JsonResponse(add2(*json.loads(request.body)["args"]), safe=False)


@csrf_exempt
async def async_bare(request: HttpRequest) -> JsonResponse:
    return JsonResponse(await async_add2(*json.loads(request.body)["args"]), safe=False)


urlpatterns = [
    path("bare/", bare),
    path("async_bare/", async_bare),
    path("wamp/", include("anybridge_django.urls")),
]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
