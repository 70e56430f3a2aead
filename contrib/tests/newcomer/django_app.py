import os
from django.conf import settings
from django.core.management import execute_from_command_line
from django.urls import include, path

settings.configure(DEBUG=True, SECRET_KEY="any", ROOT_URLCONF=__name__, INSTALLED_APPS=["anybridge_django"],
    ANYBRIDGE={"URL": "http://127.0.0.1:8181/", "TOKEN": os.environ["ANYBRIDGE_TOKEN"], "CALLBACK_URL": "http://127.0.0.1:8000/wamp/"})
urlpatterns = [path("wamp/", include("anybridge_django.urls"))]
from anybridge_django import rpc

@rpc("com.example.add2")
def add2(a, b): return a + b

execute_from_command_line()
