import os
from time import monotonic

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.db.transaction import non_atomic_requests
from django.http import HttpResponse, JsonResponse
from django.middleware.csrf import get_token

from anybridge_django import (
    NoSuchProcedure,
    RemoteError,
    Unavailable,
    acall,
    apublish,
    call,
    call_later,
    publish,
)

from .models import Happened


def private(request):
    return HttpResponse("you are " + request.user.get_username())


@login_not_required
def ready(request):
    return HttpResponse(get_token(request))


@login_not_required
def form(request):
    return HttpResponse("posted")


@login_not_required
def happened(request):
    rows = Happened.objects.filter(what=request.GET["what"]).order_by("pk")
    return JsonResponse([row.value for row in rows], safe=False)


@login_not_required
def ask(request):
    total = call("com.component.add", [int(request.GET["a"]), int(request.GET["b"])])
    return JsonResponse({"sum": total, "pid": os.getpid()})


@login_not_required
@non_atomic_requests
async def ask_async(request):
    total = await acall("com.component.add", [int(request.GET["a"]), int(request.GET["b"])])
    return JsonResponse({"sum": total, "pid": os.getpid()})


@login_not_required
def errors(request):
    try:
        call("com.served.fails")
    except RemoteError as error:
        told = [error.uri, error.args, error.kwargs, error.detail]
    try:
        call("com.served.nobody")
    except NoSuchProcedure:
        return JsonResponse(told, safe=False)


@login_not_required
def announce(request):
    Happened.objects.create(what="announced", value=request.GET["value"])
    publish("com.published.sync", [request.GET["value"]])
    procedure = request.GET.get("procedure", "com.component.add")
    later = call_later(procedure, [1, int(request.GET.get("b", 1))])
    if "fail" in request.GET:
        raise ValueError("this transaction is rolled back")
    return HttpResponse(later)


@login_not_required
@non_atomic_requests
async def announce_async(request):
    await apublish("com.published.async", [request.GET["value"]])
    return HttpResponse()


def as_me(request):
    return JsonResponse(call("com.served.who", user=request.user), safe=False)


@non_atomic_requests
async def as_me_async(request):
    user = await request.auser()
    return JsonResponse(await acall("com.served.who_async", user=user), safe=False)


@login_not_required
def shop(request):
    started = monotonic()
    try:
        price = str(call("com.component.price"))
    except Unavailable:
        price = "ask us"
    return JsonResponse({"price": price, "seconds": monotonic() - started})


@login_not_required
def login(request):
    """Logs alice in: how is not what is tested."""
    from django.contrib.auth import login as log_in

    user, _ = User.objects.get_or_create(username="alice")
    log_in(request, user, "django.contrib.auth.backends.ModelBackend")
    return HttpResponse()
