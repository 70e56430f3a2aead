"""``path("wamp/", include("anybridge_django.urls"))`` in the project's URLconf."""

from django.urls import path

from .views import dispatcher

app_name = "anybridge"

urlpatterns = [path("", dispatcher, name="dispatcher")]
