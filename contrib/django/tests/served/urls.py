from django.urls import include, path

from . import views

urlpatterns = [
    path("wamp/", include("anybridge_django.urls")),
    path("announce-async/", views.announce_async),
    path("announce/", views.announce),
    path("as-me-async/", views.as_me_async),
    path("as-me/", views.as_me),
    path("ask-async/", views.ask_async),
    path("ask/", views.ask),
    path("errors/", views.errors),
    path("form/", views.form),
    path("happened/", views.happened),
    path("login/", views.login),
    path("private/", views.private),
    path("ready/", views.ready),
    path("shop/", views.shop),
]
