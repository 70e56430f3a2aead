"""Handlers and an ordinary view side by side, as the first description of all this had it."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse

from anybridge_django import Unavailable, call, publish, rpc, sub
from shop.models import Order

received = []


@rpc()
def function(value):
    return f"function of {value}"


@sub()
def sujet(value):
    received.append(value)


@login_not_required
def ordinary_view(request: HttpRequest) -> HttpResponse:
    publish("sujet", ["arg1"])
    result = call("function", ["arg1"])
    return JsonResponse({"result": result})


@login_not_required
def buy(request: HttpRequest) -> HttpResponse:
    order = Order.objects.create(name="tea")
    publish("com.shop.order", [order.name], {"at": order.pk})
    if "fail" in request.GET:
        raise ValueError("no tea today")
    return JsonResponse({"order": order.pk})


@login_not_required
def shop(request: HttpRequest) -> HttpResponse:
    try:
        price = call("com.price", ["tea"])
    except Unavailable:
        price = "ask us"
    return HttpResponse(f"tea: {price}")
