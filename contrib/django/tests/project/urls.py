from django.urls import include, path

from shop import views

urlpatterns = [
    path("wamp/", include("anybridge_django.urls")),
    path("ordinary/", views.ordinary_view),
    path("buy/", views.buy),
    path("shop/", views.shop),
]
