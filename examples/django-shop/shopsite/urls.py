from django.urls import include, path

urlpatterns = [
    path("", include("shop.urls")),
    path("wamp/", include("anybridge_django.urls")),
]
